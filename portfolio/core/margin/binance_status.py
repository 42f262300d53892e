"""Binance Portfolio Margin: the account's one ratio, uniMMR = ECV / MM, and what the venue does at it.

Bands as published for PM Pro (FAQs "uniMMR" and "Portfolio Margin Pro liquidation"); the FAQ of Portfolio
Margin itself confirms the start of liquidation at 1.05. Health (DESIGN 2) is 1 - 1.2 / uniMMR: 0.8, 0.7 and
0.5 are a uniMMR of 6, 4 and 2.4.
"""

from decimal import ROUND_DOWN, Decimal
from enum import StrEnum

from portfolio.core.account import MarginFigures
from portfolio.core.decimals import ZERO

#: uniMMR at which the venue warns, accepts only orders that reduce, liquidates, and calls it bankrupt.
MARGIN_CALL_AT = Decimal("1.5")
REDUCE_ONLY_AT = Decimal("1.2")
LIQUIDATION_AT = Decimal("1.05")
BANKRUPT_AT = Decimal("1.0")

#: What a uniMMR without margin to maintain is printed as: the venue's own text for it is not documented.
NO_MARGIN_TEXT = "99999999"
_STEP = Decimal("1e-8")


class AccountStatus(StrEnum):
    """The venue's words, best first. It knows two more (SUPPLY_MARGIN, ACTIVE_LIQUIDATION) without bands."""

    NORMAL = "NORMAL"
    MARGIN_CALL = "MARGIN_CALL"
    REDUCE_ONLY = "REDUCE_ONLY"
    FORCE_LIQUIDATION = "FORCE_LIQUIDATION"
    BANKRUPTED = "BANKRUPTED"


def uni_mmr(figures: MarginFigures) -> Decimal | None:
    """ECV / MM; negative while ECV is; None when there is no margin to maintain."""
    if figures.maintenance_margin == 0:
        return None
    return figures.adjusted_equity / figures.maintenance_margin


def uni_mmr_text(figures: MarginFigures) -> str:
    """As the venue prints it: eight places, truncated."""
    ratio = uni_mmr(figures)
    return NO_MARGIN_TEXT if ratio is None else format(ratio.quantize(_STEP, rounding=ROUND_DOWN), "f")


def account_status(figures: MarginFigures) -> AccountStatus:
    """The band that the account is in; an edge belongs to the worse one.

    Without margin to maintain the account is normal, unless its ECV is negative: the venue liquidates that
    too, positions or not.
    """
    ratio = uni_mmr(figures)
    if ratio is None:
        negative = figures.adjusted_equity < ZERO
        return AccountStatus.FORCE_LIQUIDATION if negative else AccountStatus.NORMAL
    if ratio <= BANKRUPT_AT:
        return AccountStatus.BANKRUPTED
    if ratio <= LIQUIDATION_AT:
        return AccountStatus.FORCE_LIQUIDATION
    if ratio <= REDUCE_ONLY_AT:
        return AccountStatus.REDUCE_ONLY
    return AccountStatus.MARGIN_CALL if ratio <= MARGIN_CALL_AT else AccountStatus.NORMAL
