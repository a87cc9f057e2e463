"""The search for planted secrets finds them where a Redis has written them."""

from pathlib import Path

from redis import Redis

from tests.servers.planted import found_in_redis, planted
from workers.supervision.embedded_redis import private_redis


def test_a_secret_is_found_in_what_a_redis_holds_and_in_what_it_has_forgotten(
    tmp_path: Path,
) -> None:
    with private_redis(tmp_path) as url, Redis.from_url(url) as redis:
        assert found_in_redis(redis) == {}
        redis.set("here", planted("compressible") * 50)
        found = found_in_redis(redis)
        assert "b'here'" in found
        assert any(str(tmp_path) in place for place in found)
        redis.delete("here")
        assert all(str(tmp_path) in place for place in found_in_redis(redis))
        assert found_in_redis(redis) == {}, "its file is written anew"

        redis.set("gone", planted("gone"))
        redis.delete("gone")
        assert found_in_redis(redis) != {}
