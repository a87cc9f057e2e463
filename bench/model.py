"""The scripted model of `edgewise llm-stub` in a process of its own, as fast as it is told."""

from collections.abc import Iterator
from contextlib import contextmanager

from bench.child import child
from workers.llm_stub.replies import MARK

__all__ = ["MARK", "scripted_model"]


@contextmanager
def scripted_model(rate: float = 0.0) -> Iterator[str]:
    """Serve the model on a free port; yield its base URL. `rate` is tokens a second, 0 at once."""
    options = ("llm-stub", "--json", "--port", "0", "--rate", str(rate), "--say", "All right.")
    with child("workers.main", *options) as stub:
        try:
            yield str(stub.ask()["url"])
        finally:
            stub.process.terminate()
