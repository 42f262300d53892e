"""First-order linear recursions of many series at once, as matrix products instead of a loop over time."""

import numpy as np

from portfolio.core.carry import Floats

_BLOCK = 32
_LAGS = np.arange(_BLOCK)[None, :] - np.arange(_BLOCK)[:, None]
_UPPER = np.maximum(_LAGS, 0)
_MASK = (_LAGS >= 0).astype(np.float64)


def linear_recursion(inputs: Floats, decay: Floats) -> Floats:
    """Solve y[t] = x[t] + decay * y[t-1] with y before the first = 0, along the last axis.

    `inputs` has shape (n, k, t): k recursions of each of n series, which share its decay of shape (n,), 0..1.
    Within blocks of 32 steps a triangular matrix of powers does it; across blocks the same recursion again.
    """
    count, parallel, steps = inputs.shape
    blocks = -(-steps // _BLOCK)
    powers = decay[:, None] ** np.arange(_BLOCK + 1, dtype=np.float64)
    padded = inputs
    if blocks * _BLOCK != steps:
        padded = np.zeros((count, parallel, blocks * _BLOCK))
        padded[:, :, :steps] = inputs
    # One small product per recursion: a BLAS hands larger ones to threads, which wait for each other on a
    # machine that has something else to do.
    triangles = (powers[:, _UPPER] * _MASK)[:, None]
    out = np.matmul(padded.reshape(count, parallel, blocks, _BLOCK), triangles)
    if blocks > 1:
        ends = linear_recursion(np.ascontiguousarray(out[:, :, :-1, -1]), powers[:, _BLOCK])
        out[:, :, 1:, :] += ends[:, :, :, None] * powers[:, None, None, 1:]
    return np.asarray(out.reshape(count, parallel, blocks * _BLOCK)[:, :, :steps], dtype=np.float64)
