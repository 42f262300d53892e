"""How tests of the engine run."""

import pytest
from trio.testing import MockClock


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, object]]:
    """Under trio's virtual clock: nothing waits for real, and seconds cost nothing."""
    return "trio", {"clock": MockClock(autojump_threshold=0)}
