"""A Bybit UTA account as arrays: the rule of `bybit_uta` for a thousand scenarios in one pass.

Per base and settlement coin one table of straight lines (see `piecewise`) answers for all its perpetuals and
their orders, so the work per scenario grows with coins, not with positions. A coin that nothing settles in
keeps its quantity: its terms are proportional to its price. Only the settlement coins and open spot orders
are valued scenario by scenario.

Agrees with the exact rule to about 1e-13 of the account's gross value. Exactly at the border of a tier, where
initial margin may jump, a float can fall on the other side of it than the exact product does.
"""

from collections.abc import Iterable
from decimal import Decimal

import numpy as np

from portfolio.core.account import Position
from portfolio.core.decimals import ZERO
from portfolio.core.instrument import InstrumentKind
from portfolio.core.margin.batch import BatchFigures, Moves
from portfolio.core.margin.bybit_batch_coins import FixedCoins, Holding, Swap
from portfolio.core.margin.bybit_perpetual import leverage_of
from portfolio.core.margin.bybit_uta import require_borrow_leverage
from portfolio.core.margin.checks import require_sound
from portfolio.core.margin.lookups import fees_of, instrument_of, mark_of, usd_of
from portfolio.core.margin.piecewise import Piece, added, evaluated
from portfolio.core.margin.state import MarginState, RestingOrder
from portfolio.core.margin.tiers import position_tiers
from portfolio.core.names import Coin, InstrumentId
from portfolio.core.orders import Side
from portfolio.core.risk import PositionTier

#: Columns of a piece: unrealised PnL, position IM, position MM, order IM, order loss (<= 0).
_PNL, _IM, _MM, _ORDER_IM, _ORDER_LOSS, _WIDTH = 0, 1, 2, 3, 4, 5


class BybitBatch:
    """One account, compiled. See `CompiledAccount`.

    Args:
        state: The account; prices are those that the factors multiply.
        reference: As in `MarginRule`.

    Raises:
        MissingDataError, SettingsError, NumberError, InputError: as the exact rule.
    """

    def __init__(self, state: MarginState, *, reference: bool = False) -> None:
        require_sound(state)
        require_borrow_leverage(state.policy)
        self._state = state
        cells: dict[tuple[Coin, Coin], list[Piece]] = {}
        tables: dict[int, _Tiers] = {}
        self.gross_usd = 0.0
        for instrument_id, position, orders in _perpetuals(state):
            instrument = instrument_of(state, instrument_id)
            rows = position_tiers(state.tables, instrument_id)
            tiers = tables.get(id(rows)) or tables.setdefault(id(rows), _Tiers(rows))
            piece = _piece(state, instrument_id, position, orders, tiers, reference=reference)
            cells.setdefault((instrument.base, instrument.quote), []).append(piece)
            self.gross_usd += _gross(state, instrument_id, position, orders)
        balances = {row.coin: row for row in state.balances}
        settling = dict.fromkeys(settle for _, settle in cells)
        self._settling = [Holding(state, coin, balances.get(coin)) for coin in settling]
        fixed = [
            Holding(state, row.coin, row)
            for row in balances.values()
            if row.coin not in settling and (row.wallet or row.spot_borrow)
        ]
        self.gross_usd += sum(row.gross_usd for row in (*self._settling, *fixed))
        self._swaps = [Swap(state, row) for row in state.orders if _is_spot(state, row)]
        named = [coin for cell in cells for coin in cell] + [row.coin for row in fixed]
        named += [coin for swap in self._swaps for coin in (swap.given.coin, swap.taken.coin)]
        self.coins: tuple[Coin, ...] = tuple(dict.fromkeys(named))
        self._column = {coin: number for number, coin in enumerate(self.coins)}
        self._cells = [
            (self._column[base], list(settling).index(settle), added(pieces))
            for (base, settle), pieces in cells.items()
        ]
        self._fixed_columns = [self._column[row.coin] for row in fixed]
        self._fixed = FixedCoins(fixed)

    def value(self, moves: Moves) -> BatchFigures:
        """The account under every scenario; `moves` has the columns of `coins`."""
        factors, shifts = moves.factors, moves.ratio_shifts
        settled = np.zeros((len(self._settling), len(factors), _WIDTH))
        for base, settle, piece in self._cells:
            settled[settle] += evaluated(piece, factors[:, base])
        fixed = factors[:, self._fixed_columns]
        equity, initial, maintenance = self._fixed.terms(fixed)
        balance = self._fixed.collateral(fixed, shifts)
        equities = {coin: np.full(len(factors), net) for coin, net in self._fixed.equities.items()}
        order_loss = np.zeros(len(factors))
        for row, terms in zip(self._settling, settled, strict=True):
            price = row.price * factors[:, self._column[row.coin]]
            held = equities[row.coin] = row.net + terms[:, _PNL]
            borrow_im, borrow_mm = row.borrow_margin(terms[:, _PNL])
            equity += held * price
            balance += row.counted(held, shifts) * price
            initial += (terms[:, _IM] + terms[:, _ORDER_IM] + borrow_im) * price
            maintenance += (terms[:, _MM] + borrow_mm) * price
            order_loss += terms[:, _ORDER_LOSS] * price
        for swap in self._swaps:
            balance -= swap.loss(equities, factors, self._column, shifts)
        return BatchFigures(equity, balance + order_loss, initial, maintenance)


def _is_spot(state: MarginState, order: RestingOrder) -> bool:
    return instrument_of(state, order.instrument_id).kind is InstrumentKind.SPOT


def _perpetuals(
    state: MarginState,
) -> Iterable[tuple[InstrumentId, Position | None, tuple[RestingOrder, ...]]]:
    """Every perpetual with a position or open orders."""
    orders: dict[InstrumentId, list[RestingOrder]] = {}
    for row in state.orders:
        if not _is_spot(state, row):
            orders.setdefault(row.instrument_id, []).append(row)
    for position in state.positions:
        yield position.instrument_id, position, tuple(orders.pop(position.instrument_id, ()))
    for instrument_id, rows in orders.items():
        yield instrument_id, None, tuple(rows)


def _gross(
    state: MarginState, instrument_id: InstrumentId, position: Position | None, orders: Iterable[RestingOrder]
) -> float:
    mark = mark_of(state, instrument_id)
    total = sum((row.quantity * (mark + row.limit_price) for row in orders), start=ZERO)
    if position is not None:
        total += abs(position.quantity) * (mark + position.entry_price)
    return float(total * usd_of(state, instrument_of(state, instrument_id).quote))


class _Tiers:
    """One table of risk tiers; many perpetuals share it."""

    __slots__ = ("deduction", "ends", "leverage_max", "maintenance_rate")

    def __init__(self, rows: tuple[PositionTier, ...]) -> None:
        #: Of all but the last, which goes on without end.
        self.ends = [row.notional_to for row in rows[:-1]]
        self.leverage_max = np.array([float(row.leverage_max) for row in rows])
        self.maintenance_rate = np.array([float(row.maintenance_rate) for row in rows])
        self.deduction = np.array([float(row.deduction) for row in rows])


def _piece(
    state: MarginState,
    instrument_id: InstrumentId,
    position: Position | None,
    orders: tuple[RestingOrder, ...],
    tiers: _Tiers,
    *,
    reference: bool,
) -> Piece:
    """One perpetual as lines in its price factor; amounts in the coin it settles in."""
    mark, taker = mark_of(state, instrument_id), float(fees_of(state, instrument_id).taker)
    held = ZERO if position is None else abs(position.quantity)
    total = sum((row.quantity for row in orders if not row.reduce_only), start=held)
    worth = total * mark
    # In decimals: a factor that brings the value exactly to a border must stay in the tier that ends there.
    borders = np.array([float(end / worth) if worth else np.inf for end in tiers.ends])
    wanted = state.policy.perpetual if reference or position is None else position.leverage
    inverse = 1.0 / np.minimum(float(leverage_of(wanted, wanted, instrument_id)), tiers.leverage_max)
    constant = np.zeros((len(inverse), _WIDTH))
    slope = np.zeros((len(inverse), _WIDTH))
    if position is not None:
        sign = 1.0 if position.quantity > 0 else -1.0
        fee = float(held * position.entry_price) * (1.0 - sign * inverse) * taker
        share = float(held / total) if total else 1.0
        at_mark = float(held * mark)
        constant[:, _PNL] = -float(position.quantity * position.entry_price)
        slope[:, _PNL] = sign * at_mark
        constant[:, _IM], slope[:, _IM] = fee, at_mark * inverse
        constant[:, _MM] = fee - tiers.deduction * share
        slope[:, _MM] = at_mark * tiers.maintenance_rate
    for row in orders:
        if not row.reduce_only:
            fees = taker + taker * (1.0 - float(row.side.sign) * inverse)
            constant[:, _ORDER_IM] += float(row.quantity * row.limit_price) * (inverse + fees)
    piece = Piece(borders, constant, slope)
    return added([piece, *(_loss(row, mark) for row in orders)]) if orders else piece


def _loss(order: RestingOrder, mark: Decimal) -> Piece:
    """What an order would lose at once: a line on the side of its limit where it loses, nothing beyond."""
    sign = float(order.side.sign)
    losing = 0 if order.side is Side.BUY else 1
    constant, slope = np.zeros((2, _WIDTH)), np.zeros((2, _WIDTH))
    constant[losing, _ORDER_LOSS] = -sign * float(order.quantity * order.limit_price)
    slope[losing, _ORDER_LOSS] = sign * float(order.quantity * mark)
    return Piece(np.array([float(order.limit_price / mark)]), constant, slope)
