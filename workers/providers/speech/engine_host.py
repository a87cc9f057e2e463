"""The inside of an engine process: load the engine once, fork one child per conversation.

pocketsphinx holds Python's global lock while it decodes, and espeak-ng is GPL: both run in
processes of their own. A child shares the loaded model with its host by copy-on-write, so
the tenth decoder costs 21 MB where the first cost 100 (measured with pocketsphinx 5.1).

The host is started with the number of a socket. Each byte that arrives on it brings a file
descriptor, which a new child serves. Host and children end when the worker does, because
its ends of the sockets close.
"""

import os
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from typing import Final

from workers.providers.speech.engine_wire import FAILED, HELLO, Frame, pack, receive

Engine = Callable[[Frame], Iterator[Frame]]
"""Answers one frame with one or more."""

READY = b"r"

NICE: Final = 5
"""Engines compute; whoever moves packets and tokens between them goes first on a busy machine."""


def serve(load: Callable[[], Engine]) -> None:
    """Load the engine, say so, fork children until the worker has gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    control = socket.socket(fileno=int(sys.argv[1]))
    engine = load()
    control.sendall(READY)
    while True:
        order, descriptors, _, _ = socket.recv_fds(control, 1, 1)
        if not order:
            return
        if os.fork() == 0:
            os.nice(NICE)
            control.close()
            _run_child(descriptors[0], engine)
        os.close(descriptors[0])


def _run_child(descriptor: int, engine: Engine) -> None:
    try:
        with socket.socket(fileno=descriptor) as connection:
            connection.sendall(pack(Frame(HELLO)))
            _converse(connection, engine)
    except OSError:
        pass  # the worker has gone, and so does the child
    finally:
        os._exit(0)


def _converse(connection: socket.socket, engine: Engine) -> None:
    while (frame := receive(connection)) is not None:
        try:
            for answer in engine(frame):
                connection.sendall(pack(answer))
        except (ValueError, RuntimeError):
            connection.sendall(pack(Frame(FAILED)))
