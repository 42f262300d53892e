"""Sums of functions of one price factor that are straight between borders: how perpetuals of a coin move.

All perpetuals of one base coin move by one factor f. PnL, margins and the losses of open orders are then
straight lines in f, until a risk tier or a limit price is reached. Their sum is one table of lines.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from portfolio.core.margin.batch import Floats


@dataclass(frozen=True, slots=True)
class Piece:
    """W functions of f: row k holds for borders[k - 1] < f <= borders[k], the last row beyond all borders."""

    #: (K,), ascending; may repeat.
    borders: Floats
    #: (K + 1, W) each: value = constant + slope * f.
    constant: Floats
    slope: Floats


def added(pieces: Sequence[Piece]) -> Piece:
    """The sum of pieces (at least one) of the same width, on the union of their borders.

    Each row adds the lines that hold there: nothing is summed up over rows, so nothing cancels.
    """
    borders = np.unique(np.concatenate([piece.borders for piece in pieces]))
    ends = np.append(borders, np.inf)
    width = pieces[0].constant.shape[1]
    constant = np.zeros((len(ends), width))
    slope = np.zeros((len(ends), width))
    for piece in pieces:
        rows = np.searchsorted(piece.borders, ends, side="left")
        constant += piece.constant[rows]
        slope += piece.slope[rows]
    return Piece(borders, constant, slope)


def evaluated(piece: Piece, factors: Floats) -> Floats:
    """The functions at each of S factors, shape (S, W)."""
    rows = np.searchsorted(piece.borders, factors, side="left")
    values: Floats = piece.slope[rows] * factors[:, None]
    values += piece.constant[rows]
    return values
