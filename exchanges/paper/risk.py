"""The account in the margin rule's terms, now and as it would be: the venue's rules exist once, in the core.

What an order would do is asked of the same rule: a perpetual order counts as resting, a spot order as done.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from decimal import Decimal

from exchanges.paper.commands import PlaceOrder
from exchanges.paper.state import State
from portfolio.core.account import Balance, MarginFigures, Position
from portfolio.core.decimals import ONE, ZERO
from portfolio.core.instrument import Instrument, InstrumentKind
from portfolio.core.margin import bybit_uta
from portfolio.core.margin.state import MarginState, RestingOrder
from portfolio.core.margin.valuation import Valuation
from portfolio.core.market import Prices
from portfolio.core.names import Coin, InstrumentId
from portfolio.core.orders import Side
from portfolio.core.risk import LeveragePolicy


def positions(state: State) -> tuple[Position, ...]:
    """Open positions at mark prices."""
    return tuple(
        Position(
            instrument_id=key,
            quantity=holding.quantity,
            entry_price=holding.entry_price,
            mark_price=state.mark(key),
            leverage=state.leverage(key),
        )
        for key, holding in state.holdings.items()
        if holding.quantity
    )


def margin_state(
    state: State,
    *,
    balances: Iterable[Balance] | None = None,
    orders: Iterable[RestingOrder] = (),
    and_of: Iterable[InstrumentId] = (),
) -> MarginState:
    """The account now with the prices that it needs, optionally other balances, more orders, more prices."""
    held = tuple(row for row in balances or _balances(state) if row.wallet or row.spot_borrow)
    working = (*_resting(state), *orders)
    touched = {key for key, row in state.holdings.items() if row.quantity}
    touched.update(order.instrument_id for order in working)
    touched.update(and_of)
    instruments = [state.instrument(key) for key in sorted(touched)]
    coins = {row.coin for row in held}
    coins.update(coin for row in instruments for coin in (row.base, row.quote))
    return MarginState(
        balances=held,
        positions=positions(state),
        orders=working,
        prices=Prices(
            marks={row.instrument_id: state.mark(row.instrument_id) for row in instruments if _linear(row)},
            usd={coin: state.usd(coin) for coin in sorted(coins)},
        ),
        tables=state.tables,
        instruments=state.instruments,
        policy=LeveragePolicy(perpetual=state.config.perpetual_leverage, borrow=state.spot_leverage),
    )


def whole_margin_state(state: State) -> MarginState:
    """The account now with every listed price: for who wants to ask "what if" of other instruments."""
    narrow = margin_state(state)
    prices = Prices(
        marks={key: state.mark(key) for key, row in state.instruments.items() if _linear(row)},
        usd={coin: state.usd(coin) for coin in state.coins()},
    )
    return replace(narrow, prices=prices)


def _linear(instrument: Instrument) -> bool:
    return instrument.kind is InstrumentKind.PERPETUAL


def _balances(state: State) -> tuple[Balance, ...]:
    return tuple(state.balance(coin) for coin in state.ledger.balances)


def _resting(state: State) -> tuple[RestingOrder, ...]:
    return tuple(
        RestingOrder(order.instrument_id, order.side, order.left, order.price, order.reduce_only)
        for order in state.working.values()
    )


def value(subject: MarginState) -> Valuation:
    """The rule's answer; a price may have carried a position beyond its last tier."""
    return bybit_uta.value(subject, extrapolate=True)


def figures(state: State) -> MarginFigures:
    """The venue's true totals now."""
    return value(margin_state(state)).figures


def reported(state: State) -> MarginFigures:
    """What the venue shows: the true totals, unless the operator shifted them."""
    return shifted(state, figures(state))


def shifted(state: State, true: MarginFigures) -> MarginFigures:
    """The totals as shown."""
    return replace(
        true,
        adjusted_equity=true.adjusted_equity * state.shift.equity_factor,
        maintenance_margin=true.maintenance_margin * state.shift.maintenance_factor,
    )


def may_borrow(state: State) -> bool:
    """No new borrow once IM rate >= (L - 1) / L (reference 5.6)."""
    rate = figures(state).margin_usage
    return rate is not None and rate < (state.spot_leverage - ONE) / state.spot_leverage


def perpetual_fits(state: State, command: PlaceOrder, price: Decimal) -> bool:
    """A perpetual order that adds risk must leave the IM rate below 100 % (reference 5.7)."""
    if not _adds(state, command):
        return True
    order = RestingOrder(
        command.instrument_id, command.side, command.quantity, price, reduce_only=command.reduce_only
    )
    rate = value(margin_state(state, orders=(order,))).figures.margin_usage
    return rate is not None and rate < ONE


def _adds(state: State, command: PlaceOrder) -> bool:
    """Whether position and working orders of the side could end up larger than the position is now."""
    if command.reduce_only:
        return False
    quantity = state.holding(command.instrument_id).quantity
    if quantity * command.side.sign >= 0:
        return True
    waiting = sum(
        (
            order.left
            for order in state.working.values()
            if order.instrument_id == command.instrument_id and order.side is command.side
        ),
        ZERO,
    )
    return waiting + command.quantity > abs(quantity)


def spot_fits(state: State, command: PlaceOrder, price: Decimal) -> bool:
    """A spot order may not push the IM rate to 100 %, nor further up when it is there already."""
    after = value(margin_state(state, balances=_after_spot(state, command, price))).figures
    rate = after.margin_usage
    if rate is not None and rate < ONE:
        return True
    before = figures(state)
    return after.adjusted_equity - after.initial_margin >= before.adjusted_equity - before.initial_margin


def _after_spot(state: State, command: PlaceOrder, price: Decimal) -> tuple[Balance, ...]:
    instrument = state.instrument(command.instrument_id)
    value = command.quantity * price
    buying = command.side is Side.BUY
    changes: Mapping[Coin, Decimal] = {
        instrument.base: command.quantity if buying else -command.quantity,
        instrument.quote: -value if buying else value,
    }
    rows: list[Balance] = []
    for coin in state.coins():
        row = state.balance(coin)
        change = changes.get(coin, ZERO)
        lent = max(ZERO, -change - state.free(coin)) if command.borrow and change < 0 else ZERO
        rows.append(replace(row, wallet=row.wallet + change + lent, spot_borrow=row.spot_borrow + lent))
    return tuple(rows)


def within_tiers(state: State, key: InstrumentId, command: PlaceOrder, price: Decimal) -> bool:
    """Position and working orders of the symbol stay inside its last tier."""
    tiers = state.tables.positions[key]
    quantity = abs(state.holding(key).quantity + command.side.sign * command.quantity)
    waiting = sum(
        (order.left * order.price for order in state.working.values() if order.instrument_id == key),
        ZERO,
    )
    return quantity * price + waiting <= tiers[-1].notional_to or not _adds(state, command)
