"""The process of a turn worker: Celery on the queue `turns`, one event loop beside it."""

import gc
import os
import signal
import threading
import time
from functools import partial
from types import FrameType
from typing import Final

import structlog
from celery.worker import WorkController
from celery.worker import state as celery_state

from schemas.turn import TURN_QUEUE
from workers.celery_app import make_celery
from workers.errors import EdgewiseError, StorageUnavailableError
from workers.logs import set_up_logs
from workers.settings import Settings
from workers.storage.presence import announce
from workers.storage.upgrade import upgrade
from workers.turns.clients import Clients, open_clients
from workers.turns.loop import LoopThread
from workers.turns.tasks import register

OPEN_S: Final = 40.0
GRACE_S: Final = 1.5
"""How long running turns may go on after SIGTERM; the gateway sends the rest again."""
CLOSE_S: Final = 0.7
LAST_MOMENT_S: Final = 2.7

log = structlog.get_logger(__name__)


def run_worker(settings: Settings) -> None:
    """Work on turns until SIGTERM or SIGINT; blocks. The process ends within 3 s of the signal.

    Raises ConfigurationError where Redis is not named or a speech engine does not start.
    """
    set_up_logs(settings, "turns")
    _prepare_database(settings)
    app = make_celery(settings, TURN_QUEUE)
    loop: LoopThread[Clients] = LoopThread(partial(open_clients, settings))
    clients = loop.start(OPEN_S)
    register(app, loop, clients)
    # A full collection of what start-up left behind would stop the loop, and all turns, for 100 ms.
    gc.collect()
    gc.freeze()
    stopping = threading.Event()
    _stop_on_signals(stopping, loop)
    present = threading.Thread(
        target=announce, args=(settings, "turns", stopping), name="presence", daemon=True
    )
    worker = WorkController(
        app=app,
        pool="threads",
        concurrency=settings.turn_slots,
        queues=[TURN_QUEUE],
        without_gossip=True,
        without_mingle=True,
        without_heartbeat=True,
        quiet=True,
        ready_callback=lambda _consumer: present.start(),
    )
    try:
        worker.start()
    finally:
        stopping.set()
        loop.close(CLOSE_S)
    if worker.exitcode:
        raise EdgewiseError("the turn worker broke off; its log says why")
    log.info("turn_worker_stopped")


def _prepare_database(settings: Settings) -> None:
    try:
        upgrade(settings)
    except StorageUnavailableError:
        log.warning("database_away")  # agents come from their copies in Redis meanwhile


def _stop_on_signals(stopping: threading.Event, loop: LoopThread[Clients]) -> None:
    def on_signal(_number: int, _frame: FrameType | None) -> None:
        if stopping.is_set():
            return
        stopping.set()
        celery_state.should_stop = os.EX_OK
        threading.Thread(target=_end, args=(loop,), name="shutdown", daemon=True).start()

    signal.signal(signal.SIGTERM, on_signal)
    signal.signal(signal.SIGINT, on_signal)


def _end(loop: LoopThread[Clients]) -> None:
    """Let the turns under way have a moment, then end them, then the process."""
    started = time.monotonic()
    time.sleep(GRACE_S)
    loop.cancel_all()
    time.sleep(max(0.0, LAST_MOMENT_S - (time.monotonic() - started)))
    log.warning("turn_worker_cut_short")
    os._exit(os.EX_OK)
