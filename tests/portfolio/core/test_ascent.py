"""Many maximisations in step: each reaches its own top, inside its bounds, or says that it did not."""

import numpy as np
import pytest

from portfolio.core.ascent import ROUNDS_MAX, Slope, maximise
from portfolio.core.carry import Floats, Ints

WIDE = (np.full(2, -50.0), np.full(2, 50.0))


def hill(points: Floats, rows: Ints, *, steep: float = 1.0) -> Slope:
    """Tops at (row, -row); `steep` misstates the curvature."""
    away = points - np.stack([rows, -rows], axis=1)
    information = np.tile(np.diag([2.0, 8.0]) * steep, (len(rows), 1, 1))
    return Slope(-np.sum(away**2 * [1.0, 4.0], axis=1), -2.0 * away * [1.0, 4.0], information)


def test_each_problem_reaches_its_own_top() -> None:
    found = maximise(hill, np.zeros((5, 2)), *WIDE)
    assert found.converged.all()
    assert np.allclose(found.points, [[k, -k] for k in range(5)], atol=1e-4)
    assert np.allclose(found.values, 0.0, atol=1e-6)


def test_a_top_beyond_the_bounds_is_approached_along_them() -> None:
    found = maximise(hill, np.zeros((4, 2)), np.full(2, -1.5), np.full(2, 2.0))
    assert found.converged.all()
    assert np.allclose(found.points[3], [2.0, -1.5], atol=1e-6)


@pytest.mark.parametrize("steep", [0.01, 60.0])
def test_a_curvature_that_is_misstated_is_measured_after_a_while(steep: float) -> None:
    found = maximise(lambda points, rows: hill(points, rows, steep=steep), np.zeros((3, 2)), *WIDE)
    assert found.converged.all()
    assert np.allclose(found.points[2], [2.0, -2.0], atol=1e-2)


def test_a_coordinate_without_information_stays_where_it_is() -> None:
    def flat(points: Floats, rows: Ints) -> Slope:
        slope = hill(points, rows)
        return slope._replace(information=slope.information * np.diag([1.0, 0.0]))

    found = maximise(flat, np.full((2, 2), 0.25), *WIDE)
    assert found.points[:, 1].tolist() == [0.25, 0.25]
    assert np.allclose(found.points[:, 0], [0.0, 1.0], atol=1e-4)


def test_a_search_that_nothing_improves_does_not_converge() -> None:
    def cliff(points: Floats, rows: Ints) -> Slope:
        slope = hill(points, rows)
        return slope._replace(value=np.where(np.any(points != 0.0, axis=1), np.nan, slope.value))

    found = maximise(cliff, np.zeros((2, 2)), *WIDE)
    assert found.converged.tolist() == [True, False]
    assert found.rounds < ROUNDS_MAX


def test_a_search_without_end_stops() -> None:
    def slope_for_ever(points: Floats, rows: Ints) -> Slope:
        ones = np.ones_like(points)
        return Slope(np.sum(points, axis=1), ones, np.tile(np.eye(2), (len(points), 1, 1)))

    found = maximise(slope_for_ever, np.zeros((1, 2)), np.full(2, -1e9), np.full(2, 1e9))
    assert not found.converged[0]
    assert found.rounds == ROUNDS_MAX
