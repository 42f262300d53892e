"""What the operator of a paper venue may do to it: move prices and tables, cut positions, plan trouble."""

from dataclasses import replace

from exchanges.paper import liquidation, views
from exchanges.paper.admission import refuse
from exchanges.paper.commands import (
    AutoDeleverage,
    ChangeTables,
    FreezeBook,
    LimitNextFill,
    RejectNext,
    Reply,
    ShiftFigures,
    Shock,
    Transfer,
)
from exchanges.paper.ledger import Entry
from exchanges.paper.market import ActiveShock
from exchanges.paper.rows import LedgerKind
from exchanges.paper.state import State
from portfolio.core.decimals import ONE, ZERO
from portfolio.core.names import Coin

OperatorCommand = (
    Transfer | Shock | ChangeTables | AutoDeleverage | ShiftFigures | FreezeBook | LimitNextFill | RejectNext
)
_DONE = Reply()


def apply(state: State, command: OperatorCommand) -> Reply:
    """Do what the operator asks."""
    match command:
        case Transfer():
            return _transfer(state, command)
        case Shock():
            return _shock(state, command)
        case ChangeTables():
            return _change_tables(state, command)
        case AutoDeleverage():
            return _auto_deleverage(state, command)
        case ShiftFigures():
            return _shift_figures(state, command)
        case FreezeBook():
            return _freeze_book(state, command)
        case LimitNextFill():
            return _limit_next_fill(state, command)
        case RejectNext():
            return _reject_next(state, command)


def _transfer(state: State, command: Transfer) -> Reply:
    """Out only what is free."""
    if command.coin not in state.coins():
        return refuse("10001", f"{command.coin} is not listed here")
    if command.quantity < 0 and -command.quantity > state.free(command.coin):
        return refuse("131212", "Insufficient balance")
    kind = LedgerKind.TRANSFER_IN if command.quantity >= 0 else LedgerKind.TRANSFER_OUT
    state.ledger.post(Entry(kind, command.coin, cash_flow=command.quantity), state.now_ns)
    return Reply(quantity=command.quantity)


def _shock(state: State, command: Shock) -> Reply:
    """Prices of this very moment move when there is no ramp."""
    factors = (*command.multipliers.values(), *(ONE + premium for premium in command.premium.values()))
    if any(factor <= 0 for factor in factors) or command.ramp_ns < 0:
        return refuse("10001", "Multipliers must be above zero and the ramp not negative")
    state.market.shocks.append(
        ActiveShock(state.now_ns, command.ramp_ns, dict(command.multipliers), dict(command.premium))
    )
    state.forget_prices()
    state.margin_check_due(state.now_ns)
    return _DONE


def _change_tables(state: State, command: ChangeTables) -> Reply:
    tables = state.tables
    state.tables = replace(
        tables,
        collateral={**tables.collateral, **{table.coin: table for table in command.collateral}},
        borrow={**tables.borrow, **{table.coin: table for table in command.borrow}},
        positions={**tables.positions, **command.positions},
        fees={**tables.fees, **command.fees},
    )
    state.margin_check_due(state.now_ns)
    return _DONE


def _auto_deleverage(state: State, command: AutoDeleverage) -> Reply:
    if not ZERO < command.fraction <= ONE:
        return refuse("10001", "The fraction must be above 0 and at most 1")
    quantity = liquidation.deleverage(state, command.instrument_id, command.fraction)
    return Reply(quantity=quantity)


def _shift_figures(state: State, command: ShiftFigures) -> Reply:
    state.shift = command
    state.ledger.touched.add(Coin("USDT"))
    return _DONE


def _freeze_book(state: State, command: FreezeBook) -> Reply:
    shown = views.book(state, command.instrument_id, state.config.book_levels)
    state.frozen_books[command.instrument_id] = (shown, state.now_ns + command.duration_ns)
    return _DONE


def _limit_next_fill(state: State, command: LimitNextFill) -> Reply:
    if not ZERO <= command.share <= ONE:
        return refuse("10001", "The share must be between 0 and 1")
    state.fill_limits[command.instrument_id] = command.share
    return _DONE


def _reject_next(state: State, command: RejectNext) -> Reply:
    waiting = state.rejections.setdefault(command.instrument_id, [])
    waiting.extend([(command.code, command.message)] * command.count)
    return _DONE
