"""Everything async here runs on asyncio, as the front does."""

import pytest

from portfolio.service import Principal
from tests.tools.sample_desk import ALL_SCOPES, SampleDesk


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def desk() -> SampleDesk:
    return SampleDesk()


@pytest.fixture
def agent() -> Principal:
    return Principal("agent", ALL_SCOPES)
