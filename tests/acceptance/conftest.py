"""What every acceptance test stands on: a system that runs, and a model that follows a script."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.acceptance.model import Model
from tests.acceptance.recordings import RATE, SPHINX, as_wav, read_wav, write_wav
from tests.servers.system import System, running_system


@pytest.fixture(scope="session")
def shared_model() -> Iterator[Model]:
    with Model() as model:
        yield model


@pytest.fixture
def model(shared_model: Model) -> Model:
    """The scripted model behind the managed entry, with an empty script."""
    shared_model.reset()
    return shared_model


@pytest.fixture(scope="session")
def system(shared_model: Model) -> Iterator[System]:
    """The system that tests share; those that break things for good start their own."""
    with running_system(
        EDGEWISE_MANAGED_LLM_BASE_URL=shared_model.url,
        EDGEWISE_MANAGED_LLM_MODEL="scripted",
        EDGEWISE_MANAGED_LLM_API_KEY="the-operators-key",
        EDGEWISE_LLM_FIRST_TOKEN_S="3",
        EDGEWISE_LLM_BREAKER_FAILURES="1000",  # one test's failing model is another's
    ) as running:
        yield running


@pytest.fixture(scope="session")
def agent(system: System) -> str:
    return system.agent()


@pytest.fixture(scope="session")
def go_forward(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A man says "go forward ten meters"; 2.8 s."""
    return as_wav(SPHINX / "goforward.raw", tmp_path_factory.mktemp("recordings"))


@pytest.fixture
def question(go_forward: Path, tmp_path: Path) -> Path:
    """The recording with silence around it, for a browser takes a moment to be connected."""
    samples, rate = read_wav(go_forward)
    assert rate == RATE
    before, after = np.zeros(4 * RATE, np.int16), np.zeros(30 * RATE, np.int16)
    return write_wav(tmp_path / "question.wav", np.concatenate([before, samples, after]))
