"""The margin simulation in the mode of the account that a snapshot shows."""

from portfolio.core.errors import MissingDataError
from portfolio.core.margin.modes import AccountMode, mode_of
from portfolio.core.margin.sim import MarginSim
from portfolio.core.staking import UNDERLYING
from portfolio.service import DeskSnapshot


def account_mode(snapshot: DeskSnapshot) -> AccountMode:
    """By the venue of its instruments and the venue's word for its margin mode.

    Raises:
        MissingDataError: the account was not read yet.
        SettingsError: no rule of ours values such an account.
    """
    state, account = snapshot.state, snapshot.venue
    instrument = None if state is None else next(iter(state.instruments.values()), None)
    if account is None or instrument is None:
        raise MissingDataError(
            "The account has not been read yet.",
            field="data",
            next_step="Call get_portfolio for the ages and try again.",
        )
    return mode_of(instrument.venue, account.margin_mode)


def sim_of(snapshot: DeskSnapshot) -> MarginSim:
    """What-ifs of this account; errors as in `account_mode`."""
    return MarginSim(account_mode(snapshot), staking=UNDERLYING)
