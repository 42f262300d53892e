"""The blocked recursion is the plain loop."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from portfolio.core.recursion import linear_recursion


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 3), st.integers(1, 3), st.integers(1, 1200), st.integers(0, 10_000))
def test_blocks_give_what_a_loop_over_time_gives(count: int, parallel: int, steps: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    inputs, decay = rng.normal(size=(count, parallel, steps)), rng.choice([0.0, 0.3, 0.99, 1.0], size=count)
    expected, last = np.zeros_like(inputs), np.zeros((count, parallel))
    for step in range(steps):
        last = inputs[:, :, step] + decay[:, None] * last
        expected[:, :, step] = last
    assert np.allclose(linear_recursion(inputs, decay), expected, rtol=1e-10, atol=1e-10)
