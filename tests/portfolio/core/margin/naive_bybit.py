"""The Bybit margin sheet a second time: slow, naive, in fractions, line by line from the text.

Written from the reference sheet (sections 5.2 - 5.6) and the assumptions that the rule states, without
looking at the rule: dictionaries of plain numbers in, a dictionary out, no tier objects, no totals carried
along, everything looked up again where it is needed.
"""

from fractions import Fraction
from typing import Any

from portfolio.core.margin.state import MarginState

Rows = list[dict[str, Any]]


def figures(state: MarginState, *, use_policy_leverage: bool = False) -> dict[str, Fraction]:
    """total_equity, adjusted_equity, initial_margin, maintenance_margin, haircut_loss, order_loss in USD."""
    book = _plain(state)
    coins = sorted(
        {row["coin"] for row in book["balances"] if row["wallet"] or row["borrow"]}
        | {row["settle"] for row in book["positions"]}
        | {row["settle"] for row in book["perp_orders"]}
    )
    equity = {coin: _wallet(book, coin) - _owed(book, coin) + _pnl(book, coin) for coin in coins}
    total = sum((equity[coin] * book["usd"][coin] for coin in coins), Fraction(0))
    margin_balance = sum(
        (_collateral(book, coin, equity[coin]) * book["usd"][coin] for coin in coins), Fraction(0)
    )
    initial = maintenance = Fraction(0)
    for row in book["positions"]:
        initial += _position_im(book, row, use_policy_leverage) * book["usd"][row["settle"]]
        maintenance += _position_mm(book, row, use_policy_leverage) * book["usd"][row["settle"]]
    for row in book["perp_orders"]:
        if not row["reduce_only"]:
            initial += _order_im(book, row, use_policy_leverage) * book["usd"][row["settle"]]
    for coin in coins:
        im, mm = _borrow(book, coin)
        initial += im
        maintenance += mm
    haircut = sum((_haircut(book, row, equity) for row in book["spot_orders"]), Fraction(0))
    loss = sum((_order_loss(book, row) for row in book["perp_orders"]), Fraction(0))
    return {
        "total_equity": total,
        "adjusted_equity": margin_balance - haircut + loss,
        "initial_margin": initial,
        "maintenance_margin": maintenance,
        "haircut_loss": haircut,
        "order_loss": loss,
    }


def _plain(state: MarginState) -> dict[str, Any]:
    """Unpack the state into rows of fractions and names."""
    instruments = state.instruments
    orders = [
        {
            "id": row.instrument_id,
            "kind": instruments[row.instrument_id].kind.value,
            "base": instruments[row.instrument_id].base,
            "settle": instruments[row.instrument_id].quote,
            "sign": 1 if row.side.value == "buy" else -1,
            "size": Fraction(row.quantity),
            "price": Fraction(row.limit_price),
            "reduce_only": row.reduce_only,
        }
        for row in state.orders
    ]
    return {
        "balances": [
            {
                "coin": row.coin,
                "wallet": Fraction(row.wallet),
                "borrow": Fraction(row.spot_borrow),
                "frozen": Fraction(row.locked),
            }
            for row in state.balances
        ],
        "positions": [
            {
                "id": row.instrument_id,
                "settle": instruments[row.instrument_id].quote,
                "long": row.quantity > 0,
                "size": abs(Fraction(row.quantity)),
                "entry": Fraction(row.entry_price),
                "leverage": Fraction(row.leverage),
            }
            for row in state.positions
        ],
        "perp_orders": [row for row in orders if row["kind"] == "linear"],
        "spot_orders": [row for row in orders if row["kind"] == "spot"],
        "mark": {key: Fraction(price) for key, price in state.prices.marks.items()},
        "usd": {coin: Fraction(price) for coin, price in state.prices.usd.items()},
        "tables": state.tables,
        "policy": state.policy,
    }


def _sum_of(book: dict[str, Any], coin: str, column: str) -> Fraction:
    return sum((row[column] for row in book["balances"] if row["coin"] == coin), Fraction(0))


def _wallet(book: dict[str, Any], coin: str) -> Fraction:
    return _sum_of(book, coin, "wallet")


def _owed(book: dict[str, Any], coin: str) -> Fraction:
    return _sum_of(book, coin, "borrow")


def _pnl(book: dict[str, Any], coin: str) -> Fraction:
    """UPL = s q (M - E) of contracts settled in the coin."""
    total = Fraction(0)
    for row in book["positions"]:
        if row["settle"] == coin:
            gain = row["size"] * (book["mark"][row["id"]] - row["entry"])
            total += gain if row["long"] else -gain
    return total


def _collateral(book: dict[str, Any], coin: str, quantity: Fraction) -> Fraction:
    """Tax brackets over a positive quantity; debt in full."""
    if quantity < 0:
        return quantity
    if quantity == 0:
        return Fraction(0)
    table = book["tables"].collateral[coin]
    if not table.enabled:
        return Fraction(0)
    counted = Fraction(0)
    for bracket in table.tiers:
        low = Fraction(bracket.quantity_from)
        high = quantity if bracket.quantity_to is None else Fraction(bracket.quantity_to)
        inside = max(Fraction(0), min(quantity, high) - low)
        counted += inside * Fraction(bracket.ratio)
    return counted


def _symbol_value(book: dict[str, Any], symbol: str) -> Fraction:
    """Live mark value of position and open orders of the symbol (reduce-only ones open nothing)."""
    size = sum((row["size"] for row in book["positions"] if row["id"] == symbol), Fraction(0))
    size += sum(
        (row["size"] for row in book["perp_orders"] if row["id"] == symbol and not row["reduce_only"]),
        Fraction(0),
    )
    return Fraction(size * book["mark"][symbol])


def _tier(book: dict[str, Any], symbol: str) -> Any:
    fitting = [
        tier
        for tier in book["tables"].positions[symbol]
        if Fraction(tier.notional_to) >= _symbol_value(book, symbol)
    ]
    return min(fitting, key=lambda tier: tier.notional_to)


def _lever(book: dict[str, Any], symbol: str, use_policy_leverage: bool) -> Fraction:
    mine = [row["leverage"] for row in book["positions"] if row["id"] == symbol]
    wanted = Fraction(book["policy"].perpetual) if use_policy_leverage or not mine else mine[0]
    return min(wanted, Fraction(_tier(book, symbol).leverage_max))


def _fee(book: dict[str, Any], symbol: str) -> Fraction:
    return Fraction(book["tables"].fees[symbol].taker)


def _fee_to_close(book: dict[str, Any], row: dict[str, Any], lever: Fraction) -> Fraction:
    """q E (1 - s/L) f"""
    sign = 1 if row["long"] else -1
    return Fraction(row["size"] * row["entry"] * (1 - sign / lever) * _fee(book, row["id"]))


def _position_im(book: dict[str, Any], row: dict[str, Any], use_policy_leverage: bool) -> Fraction:
    lever = _lever(book, row["id"], use_policy_leverage)
    return Fraction(row["size"] * book["mark"][row["id"]] / lever + _fee_to_close(book, row, lever))


def _position_mm(book: dict[str, Any], row: dict[str, Any], use_policy_leverage: bool) -> Fraction:
    lever = _lever(book, row["id"], use_policy_leverage)
    tier = _tier(book, row["id"])
    value = row["size"] * book["mark"][row["id"]]
    together = _symbol_value(book, row["id"])
    # margin of position and orders as one, of which the position bears its share
    one = together * Fraction(tier.maintenance_rate) - Fraction(tier.deduction)
    return Fraction(one * value / together + _fee_to_close(book, row, lever))


def _order_im(book: dict[str, Any], row: dict[str, Any], use_policy_leverage: bool) -> Fraction:
    lever = _lever(book, row["id"], use_policy_leverage)
    value = row["size"] * row["price"]
    to_open = value * _fee(book, row["id"])
    to_close = value * (1 - row["sign"] / lever) * _fee(book, row["id"])
    return Fraction(value / lever + to_open + to_close)


def _order_loss(book: dict[str, Any], row: dict[str, Any]) -> Fraction:
    mark = book["mark"][row["id"]]
    apart = mark - row["price"] if row["sign"] > 0 else row["price"] - mark
    return Fraction(min(Fraction(0), apart * row["size"]) * book["usd"][row["settle"]])


def _borrow(book: dict[str, Any], coin: str) -> tuple[Fraction, Fraction]:
    """USD: the spot debt, plus whatever else of the coin is below zero once frozen coins are taken out."""
    rest = _wallet(book, coin) + _pnl(book, coin) - _sum_of(book, coin, "frozen")
    amount = _owed(book, coin) + abs(min(Fraction(0), rest))
    if amount == 0:
        return Fraction(0), Fraction(0)
    tier = next(
        row
        for row in book["tables"].borrow[coin].tiers
        if row.quantity_to is None or Fraction(row.quantity_to) >= amount
    )
    usd = amount * book["usd"][coin]
    rate = max(Fraction(tier.initial_rate), 1 / Fraction(book["policy"].borrow))
    return usd * rate, usd * Fraction(tier.maintenance_rate)


def _haircut(book: dict[str, Any], row: dict[str, Any], equity: dict[str, Fraction]) -> Fraction:
    """Collateral value lost by swapping one coin into the other, each coin against what is held now."""
    base, quote = row["base"], row["settle"]
    change = {base: row["sign"] * row["size"], quote: -row["sign"] * row["size"] * row["price"]}
    lost = Fraction(0)
    for coin, delta in change.items():
        now = equity.get(coin, Fraction(0))
        difference = _collateral(book, coin, now + delta) - _collateral(book, coin, now)
        lost -= difference * book["usd"][coin]
    return max(Fraction(0), lost)
