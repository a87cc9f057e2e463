"""Speech to text without an engine, for load tests: whatever is said, the same is understood."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable
from typing import Final

import numpy as np
from numpy.typing import NDArray

HEARD: Final = "what time is it"


class _Listening:
    def __init__(self) -> None:
        self.partial = ""

    def push(self, samples: NDArray[np.int16]) -> None:
        if samples.size:
            self.partial = HEARD

    def finish(self) -> Awaitable[str]:
        text: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        text.set_result(self.partial)
        self.partial = ""
        return text


class ScriptedStt:
    """Understands `what time is it` in any audio, at once and for nothing."""

    @contextlib.asynccontextmanager
    async def listen(self) -> AsyncIterator[_Listening]:
        """Open an utterance."""
        yield _Listening()
