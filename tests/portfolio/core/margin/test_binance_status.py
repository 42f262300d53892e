"""uniMMR: its value, its text and the bands."""

from decimal import Decimal

import pytest

from portfolio.core.account import MarginFigures
from portfolio.core.margin.binance_status import AccountStatus, account_status, uni_mmr, uni_mmr_text

D = Decimal


def figures(ecv: str, maintenance: str) -> MarginFigures:
    return MarginFigures(D(ecv), D(ecv), D(0), D(maintenance))


@pytest.mark.parametrize(
    ("ecv", "status"),
    [
        ("151", AccountStatus.NORMAL),
        ("150", AccountStatus.MARGIN_CALL),
        ("121", AccountStatus.MARGIN_CALL),
        ("120", AccountStatus.REDUCE_ONLY),
        ("106", AccountStatus.REDUCE_ONLY),
        ("105", AccountStatus.FORCE_LIQUIDATION),
        ("101", AccountStatus.FORCE_LIQUIDATION),
        ("100", AccountStatus.BANKRUPTED),
        ("-1", AccountStatus.BANKRUPTED),
    ],
)
def test_an_edge_belongs_to_the_worse_band(ecv: str, status: AccountStatus) -> None:
    assert account_status(figures(ecv, "100")) is status


@pytest.mark.parametrize("ecv", ["0", "1"])
def test_without_margin_to_maintain_there_is_no_ratio_and_the_account_is_normal(ecv: str) -> None:
    idle = figures(ecv, "0")
    assert uni_mmr(idle) is None
    assert uni_mmr_text(idle) == "99999999"
    assert account_status(idle) is AccountStatus.NORMAL


def test_a_negative_ecv_is_liquidated_positions_or_not() -> None:
    assert account_status(figures("-1", "0")) is AccountStatus.FORCE_LIQUIDATION


def test_the_text_is_truncated_to_eight_places() -> None:
    assert uni_mmr(figures("2", "3")) == D(2) / 3
    assert uni_mmr_text(figures("2", "3")) == "0.66666666"
    assert uni_mmr_text(figures("600", "100")) == "6.00000000"
    assert uni_mmr_text(figures("-2", "3")) == "-0.66666666"
