"""Fixtures of the device's tests: a scripted gateway and people's recordings."""

from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from edge.settings import DeviceSettings
from tests.integration.edge.scripted_gateway import (
    AGENT,
    KEY,
    Script,
    ScriptedGateway,
    scripted_gateway,
)

RECORDINGS = Path("/usr/share/pocketsphinx/test/data")


@pytest.fixture
async def gateway() -> AsyncIterator[ScriptedGateway]:
    async with scripted_gateway(Script()) as gateway:
        yield gateway


@pytest.fixture
def settings(gateway: ScriptedGateway) -> DeviceSettings:
    return DeviceSettings(_env_file=None, server=gateway.url, agent=AGENT, api_key=KEY)


@pytest.fixture(scope="session")
def go_forward() -> NDArray[np.int16]:
    """A person says "go forward ten meters" (Debian package pocketsphinx-testdata)."""
    return np.fromfile(RECORDINGS / "goforward.raw", dtype=np.int16)
