from collections.abc import AsyncIterator

import pytest
from httpx import AsyncClient

from tests.fakes.rest_application import calling


@pytest.fixture
async def client() -> AsyncIterator[AsyncClient]:
    async with calling() as client:
        yield client
