"""A whole system in real processes for one measurement, and a model that answers at once."""

from collections.abc import Iterator
from contextlib import contextmanager

from bench.figure import NotMeasuredError
from bench.model import scripted_model
from tests.servers.system import System, running_system


@contextmanager
def measured_system(**environment: str) -> Iterator[System]:
    """Run `edgewise up` with its defaults, but for `environment` and the model."""
    with scripted_model() as base_url:
        model = {
            "EDGEWISE_MANAGED_LLM_BASE_URL": base_url,
            "EDGEWISE_MANAGED_LLM_MODEL": "bench",
            "EDGEWISE_MANAGED_LLM_API_KEY": "no-secret-at-all",
        }
        try:
            with running_system(**model, **environment) as system:
                yield system
        except AssertionError as error:
            raise NotMeasuredError(f"the system did not come up: {error}") from error
