"""Account modes: a margin rule with what belongs to it - where its venue liquidates, what it assumes.

Whoever values an account takes its mode and names no venue. Where a venue draws its line (ECV / MM):

- Bybit UTA: 1, an MM rate of 100 % (help centre, "Liquidation process (UTA)").
- Binance Portfolio Margin: 1.05, the uniMMR of forced liquidation (FAQ "uniMMR", see `binance_status`).
- OKX, both modes: 1, a margin ratio of 100 % over MM and liquidation fees, which our MM has in it.

From which IM / ECV on it lends no more:

- Bybit UTA: (L - 1) / L of the borrow leverage L (help centre, "Borrowing").
- Binance and OKX: 1. They check loans and orders against initial margin alone (Binance errors -2019 and
  51006, OKX error 51008 with subcode 1009).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from types import MappingProxyType

from portfolio.core.decimals import ONE
from portfolio.core.errors import SettingsError
from portfolio.core.margin import binance_pm, bybit_uta, okx_multi_currency, okx_portfolio_margin
from portfolio.core.margin.batch import CompiledAccount
from portfolio.core.margin.binance_live import BinanceLive
from portfolio.core.margin.binance_status import LIQUIDATION_AT
from portfolio.core.margin.bybit_batch import BybitBatch
from portfolio.core.margin.bybit_live import BybitLive
from portfolio.core.margin.incremental import IncrementalRule
from portfolio.core.margin.state import MarginState
from portfolio.core.margin.valuation import MarginRule
from portfolio.core.names import Venue
from portfolio.core.risk import LeveragePolicy


@dataclass(frozen=True, slots=True)
class AccountMode:
    """One account mode of one venue."""

    name: str
    #: The exact rule: what decides.
    rule: MarginRule
    #: ECV / MM at and below which the venue liquidates.
    liquidation_line: Decimal
    #: IM / ECV from which on the venue lends no more, at the account's leverage policy.
    borrow_line: Callable[[LeveragePolicy], Decimal]
    #: What the venue's pages leave open and is taken instead; shown with every what-if.
    assumptions: tuple[str, ...]
    #: The rule for many scenarios at once; None: the exact rule answers one by one.
    compiled: Callable[[MarginState], CompiledAccount] | None = None
    #: The rule taken apart for an account that follows ticks; None: there is none.
    live: IncrementalRule | None = None


def _margin_used_up(_: LeveragePolicy) -> Decimal:
    """Lends as long as initial margin is left."""
    return ONE


BYBIT_UTA = AccountMode(
    name="bybit_uta",
    rule=bybit_uta.value,
    liquidation_line=ONE,
    borrow_line=bybit_uta.borrow_line,
    assumptions=bybit_uta.ASSUMPTIONS,
    compiled=BybitBatch,
    live=BybitLive(),
)
BINANCE_PM = AccountMode(
    name="binance_pm",
    rule=binance_pm.value,
    liquidation_line=LIQUIDATION_AT,
    borrow_line=_margin_used_up,
    assumptions=binance_pm.ASSUMPTIONS,
    live=BinanceLive(),
)
OKX_MULTI_CURRENCY = AccountMode(
    name="okx_multi_currency",
    rule=okx_multi_currency.value,
    liquidation_line=ONE,
    borrow_line=_margin_used_up,
    assumptions=okx_multi_currency.ASSUMPTIONS,
)
OKX_PORTFOLIO_MARGIN = AccountMode(
    name="okx_portfolio_margin",
    rule=okx_portfolio_margin.value,
    liquidation_line=ONE,
    borrow_line=_margin_used_up,
    assumptions=okx_portfolio_margin.ASSUMPTIONS,
)

#: By venue and the venue's own word for the mode, as `AccountSnapshot.margin_mode` has it.
MODES: Mapping[tuple[Venue, str], AccountMode] = MappingProxyType(
    {
        (Venue("bybit"), "REGULAR_MARGIN"): BYBIT_UTA,
        (Venue("binance"), "PM_2"): BINANCE_PM,
        (Venue("okx"), "3"): OKX_MULTI_CURRENCY,
        (Venue("okx"), "4"): OKX_PORTFOLIO_MARGIN,
    }
)


def mode_of(venue: Venue, word: str) -> AccountMode:
    """The mode that a venue's word stands for.

    Raises:
        SettingsError: no rule of ours values such an account.
    """
    found = MODES.get((venue, word))
    if found is None:
        raise SettingsError(
            f"No margin rule for {venue} accounts in mode {word!r}.",
            field="margin_mode",
            allowed=", ".join(f"{name} {known}" for name, known in MODES),
            next_step="Switch the account's margin mode.",
        )
    return found
