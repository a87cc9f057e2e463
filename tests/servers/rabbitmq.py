"""A RabbitMQ of the test run's own: a node in a temporary folder, on loopback."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.servers.waiting import wait_for


@contextlib.contextmanager
def running_rabbitmq() -> Iterator[str]:
    """Start a node and yield its `amqp://` URL; its log is in its folder."""
    folder = Path(tempfile.mkdtemp(prefix="edgewise-mq-"))
    port, distribution, epmd = free_ports(3)
    (folder / "enabled_plugins").write_text("[].")
    variables = {
        **os.environ,
        "HOME": str(folder),
        "RABBITMQ_CONF_ENV_FILE": str(folder / "none"),
        "RABBITMQ_CONFIG_FILE": str(folder / "none"),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "enabled_plugins"),
        "RABBITMQ_MNESIA_BASE": str(folder / "data"),
        "RABBITMQ_LOG_BASE": str(folder / "log"),
        "RABBITMQ_PID_FILE": str(folder / "pid"),
        "RABBITMQ_NODENAME": f"edgewise{port}@localhost",
        "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
        "RABBITMQ_NODE_PORT": str(port),
        "RABBITMQ_DIST_PORT": str(distribution),
        "ERL_EPMD_PORT": str(epmd),
        "ERL_EPMD_ADDRESS": "127.0.0.1",
    }
    with (folder / "said").open("wb") as said:

        def start(*words: str) -> "subprocess.Popen[bytes]":
            return subprocess.Popen(
                words,
                env=variables,
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                start_new_session=True,
            )

        names = start("epmd")  # started by the node, it would outlive it
        node = start(str(program("rabbitmq-server")))
    try:

        def answers() -> bool:
            assert node.poll() is None, (folder / "said").read_text()
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                return True
            return False

        wait_for("RabbitMQ answers", answers, within=60)
        yield f"amqp://guest:guest@127.0.0.1:{port}//"
    finally:
        for process in (node, names):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait(20)
        shutil.rmtree(folder, ignore_errors=True)


def free_ports(count: int) -> list[int]:
    """Return ports that nobody has at the moment."""
    with contextlib.ExitStack() as stack:
        listeners = [stack.enter_context(socket.socket()) for _ in range(count)]
        for listener in listeners:
            listener.bind(("127.0.0.1", 0))
        return [int(listener.getsockname()[1]) for listener in listeners]


def program(name: str) -> Path:
    """Return a program of RabbitMQ itself: the one on PATH is for root alone."""
    found = sorted(Path("/usr/lib/rabbitmq/lib").glob(f"rabbitmq_server-*/sbin/{name}"))
    if not found:
        raise AssertionError(f"there is no {name}: install Debian's `rabbitmq-server`")
    return found[-1]
