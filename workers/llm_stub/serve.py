"""Run the stub as a process."""

import asyncio
import signal
from collections.abc import Callable

from workers.errors import ConfigurationError
from workers.llm_stub.chat import Pace
from workers.llm_stub.server import LlmStub


def serve(host: str, port: int, say: str, pace: Pace, told: Callable[[str], None]) -> None:
    """Serve until SIGTERM or SIGINT; `told` gets the base URL once it listens.

    Raises ConfigurationError where the address cannot be had.
    """
    try:
        asyncio.run(_serve(LlmStub(say=say, pace=pace, host=host, port=port), told))
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise ConfigurationError(f"cannot listen on {host} port {port}: {reason}") from None


async def _serve(stub: LlmStub, told: Callable[[str], None]) -> None:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    async with stub:
        told(stub.base_url)
        await stopping.wait()
