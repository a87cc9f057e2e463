"""Publishes turns to the Celery queue, off the event loop."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from celery import Celery
from kombu.exceptions import OperationalError

from schemas.turn import TURN_QUEUE, TURN_TASK, TurnTask
from workers.errors import StorageUnavailableError

PUBLISH_S: Final = 3.0
EXPIRES_S: Final = 30


class TurnQueue:
    """The door to the turn workers."""

    def __init__(self, celery: Celery, threads: int = 4) -> None:
        self._celery = celery
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="publish")

    async def publish(self, task: TurnTask) -> None:
        """Queue a turn; raises StorageUnavailableError if the broker does not take it in 3 s."""
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(PUBLISH_S):
                await loop.run_in_executor(self._threads, self._send, task)
        except (OperationalError, OSError) as error:
            raise StorageUnavailableError("the turn queue does not answer") from error

    def _send(self, task: TurnTask) -> None:
        self._celery.send_task(
            TURN_TASK,
            kwargs={"message": task.model_dump(mode="json")},
            queue=TURN_QUEUE,
            expires=EXPIRES_S,
            ignore_result=True,
        )

    def close(self) -> None:
        """Stop the threads; what they had not begun is dropped."""
        self._threads.shutdown(wait=False, cancel_futures=True)
