"""The Binance margin sheet a second time: slow, naive, in fractions, line by line from the text.

Written from the reference sheet (5.1 - 5.7) and the assumptions that the rule states, without looking at the
rule: every coin starts as a list of amounts with a sign, and every formula is spelled out where it is needed.
"""

from fractions import Fraction
from typing import Any

from portfolio.core.margin.state import MarginState
from portfolio.core.names import Coin, InstrumentId

F = Fraction
ZERO = Fraction(0)


def figures(state: MarginState, *, use_policy_leverage: bool = False) -> dict[str, Fraction]:
    """actual equity, adjusted equity, initial and maintenance margin and open loss in USD."""
    index = {coin: F(price) for coin, price in state.prices.usd.items()}
    nets = _nets(state)
    equities = {coin: _equity(state, coin, net) for coin, net in nets.items()}
    losses = sum((_open_loss(state, row, nets) for row in _orders(state, "spot")), ZERO)
    futures_mm, futures_im = _futures(state, use_policy_leverage)
    loan_mm, loan_im = _loans(state)
    return {
        "total_equity": sum((net * index[coin] for coin, net in nets.items()), ZERO),
        "adjusted_equity": sum(equities.values(), ZERO) - losses,
        "maintenance_margin": futures_mm + loan_mm,
        "initial_margin": futures_im + loan_im,
        "haircut_loss": losses,
    }


def _orders(state: MarginState, kind: str) -> list[Any]:
    return [row for row in state.orders if state.instruments[row.instrument_id].kind.value == kind]


def _amounts(state: MarginState) -> list[tuple[Coin, str, Fraction]]:
    """(coin, what, amount): the terms of net_i one by one."""
    found: list[tuple[Coin, str, Fraction]] = []
    for row in state.balances:
        found.append((row.coin, "asset", F(row.wallet)))
        found.append((row.coin, "loan", -F(row.spot_borrow)))
    for position in state.positions:
        mark = F(state.prices.marks[position.instrument_id])
        profit = F(position.quantity) * (mark - F(position.entry_price))
        found.append((state.instruments[position.instrument_id].quote, "upnl", profit))
    return found


def _nets(state: MarginState) -> dict[Coin, Fraction]:
    nets: dict[Coin, Fraction] = {}
    for coin, _, amount in _amounts(state):
        nets[coin] = nets.get(coin, ZERO) + amount
    return {coin: net for coin, net in nets.items() if net}


def _equity(state: MarginState, coin: Coin, net: Fraction) -> Fraction:
    """min(net x index x rate, net x index); the rate is a graduated one."""
    price = F(state.prices.usd[coin])
    if net <= 0:
        return net * price
    table = state.tables.collateral[coin]
    unit = price if table.in_usd else F(1)
    held, counted = net * unit, ZERO
    for number, row in enumerate(table.tiers):
        floor = F(table.tiers[number - 1].quantity_to or 0) if number else ZERO
        top = held if row.quantity_to is None else min(held, F(row.quantity_to))
        counted += (top - floor if top > floor else ZERO) * F(row.ratio)
    full = net * price
    return min(full, counted / unit * price) if table.enabled else ZERO


def _futures(state: MarginState, use_policy_leverage: bool) -> tuple[Fraction, Fraction]:
    """Sum of |pos x mark| x mmr - cum, and of (|pos| x mark + open orders) / leverage, in USD."""
    maintenance = initial = ZERO
    opening = [row for row in _orders(state, "linear") if not row.reduce_only]
    for symbol in {row.instrument_id for row in state.positions} | {row.instrument_id for row in opening}:
        usd = F(state.prices.usd[state.instruments[symbol].quote])
        mark = F(state.prices.marks[symbol])
        mine = [row for row in state.positions if row.instrument_id == symbol]
        orders = [row for row in opening if row.instrument_id == symbol]
        notional = sum((abs(F(row.quantity)) * mark for row in mine), ZERO)
        resting = sum((F(row.quantity) * max(mark, F(row.limit_price)) for row in orders), ZERO)
        at_mark = notional + sum((F(row.quantity) * mark for row in orders), ZERO)
        if mine:
            bracket = _bracket(state, symbol, notional)
            maintenance += (notional * F(bracket.maintenance_rate) - F(bracket.deduction)) * usd
        wanted = F(state.policy.perpetual)
        if mine and not use_policy_leverage:
            wanted = F(mine[0].leverage)
        lever = min(wanted, F(_bracket(state, symbol, at_mark).leverage_max))
        initial += (notional + resting) / lever * usd
    return maintenance, initial


def _bracket(state: MarginState, symbol: InstrumentId, notional: Fraction) -> Any:
    """floor < notional <= cap"""
    fitting = [row for row in state.tables.positions[symbol] if notional <= F(row.notional_to)]
    return min(fitting, key=lambda row: row.notional_to)


def _loans(state: MarginState) -> tuple[Fraction, Fraction]:
    """Loans x MMR x index, and (loans + what is short without a loan) x index / (leverage - 1)."""
    maintenance = initial = ZERO
    amounts = _amounts(state)
    for coin in {coin for coin, _, _ in amounts}:
        loan = -sum((amount for name, what, amount in amounts if name == coin and what == "loan"), ZERO)
        rest = sum((amount for name, what, amount in amounts if name == coin and what != "loan"), ZERO)
        short = -rest if rest < 0 else ZERO
        if not loan + short:
            continue
        price = F(state.prices.usd[coin])
        table = state.tables.borrow[coin]
        row = next(t for t in table.tiers if t.quantity_to is None or loan + short <= F(t.quantity_to))
        lever = min(F(state.policy.borrow), F(row.leverage_max))
        maintenance += loan * F(row.maintenance_rate) * price
        initial += (loan + short) * price * max(F(row.initial_rate), 1 / (lever - 1))
    return maintenance, initial


def _open_loss(state: MarginState, order: Any, nets: dict[Coin, Fraction]) -> Fraction:
    """The larger of what the price gives away and what is lost as collateral by changing places."""
    instrument = state.instruments[order.instrument_id]
    size, price = F(order.quantity), F(order.limit_price)
    buys = order.side.value == "buy"
    value_base = size * F(state.prices.usd[instrument.base])
    value_quote = size * price * F(state.prices.usd[instrument.quote])
    gives_away = value_quote - value_base if buys else value_base - value_quote
    after = dict(nets)
    for coin, change in ((instrument.base, size), (instrument.quote, -size * price)):
        after[coin] = after.get(coin, ZERO) + (change if buys else -change)
    touched = (instrument.base, instrument.quote)
    before_usd = sum((_equity(state, coin, nets.get(coin, ZERO)) for coin in touched), ZERO)
    after_usd = sum((_equity(state, coin, after[coin]) for coin in touched), ZERO)
    return max(ZERO, gives_away, before_usd - after_usd)
