"""What must be true of the venue at every moment, whatever happened: checked against its own records.

1. Nothing twice: the venue never sees one of our ids again.
2. 0 <= hedge done <= lead done <= planned, for every operation, in its own direction, net of fees paid in
coin.
3. No naked leg beyond its limit while a desk lives.
4. No ENTRY without an approval that the operator signed.
5. The journal explains every fill: planned before it happened, booked once, and nothing else is booked.
6. The worker stays within the venue's limits by itself.
7. Nothing is cut as a forced reduction that the venue did not reduce.

What concerns the account's health is in `health`, what only the whole journal tells in `records`.
"""

from collections import defaultdict
from decimal import Decimal

from exchanges.paper.rows import Execution, ExecutionType, LedgerKind
from portfolio.core.decimals import ZERO, plain
from portfolio.core.entries import GuardActed
from portfolio.core.guard.values import Rule
from portfolio.core.instrument import InstrumentKind
from portfolio.core.intents import Target
from portfolio.core.limits import MINUTE_NS, SECOND_NS
from portfolio.core.names import ClientOrderId, Coin, InstrumentId, IntentId, PairId
from portfolio.core.orders import OrderClass
from portfolio.core.pairs import PairSpec
from portfolio.core.slicing import smallest_order
from portfolio.repayment import SWEEP_MIN_USD
from server.simulation.health import HealthWatch
from server.simulation.records import broken_records
from server.simulation.world import START_NS, World

#: The guard acts after 5 s; then an unknown order may take a deadline, skew and lag to be resolved, and the
#: closing order a few round trips. On a rotten day several of these in a row get no answer.
NAKED_MAX_NS = 20 * SECOND_NS
NAKED_ROTTEN_MAX_NS = 45 * SECOND_NS
#: More than any day has.
_GUARD_ACTIONS = 10_000


class Invariants:
    """Watches one world. `violations` is what it saw, in order, at most a few of each kind."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.violations: list[str] = []
        self.naked_max_ns = 0
        self._seen = 0
        self._naked_since: dict[PairId, int] = {}
        self._done: defaultdict[tuple[IntentId, PairId, InstrumentId], Decimal] = defaultdict(lambda: ZERO)
        self._held: defaultdict[InstrumentId, Decimal] = defaultdict(lambda: ZERO)
        self._fills: set[str] = set()
        #: Instruments on which the venue traded for us of its own accord.
        self._forced: set[InstrumentId] = set()
        self._spots = {
            row.base: key for key, row in world.instruments.items() if row.kind is InstrumentKind.SPOT
        }
        #: Market minute up to which interest is counted, and the rows that are.
        self._interest_minute = 0
        self._interest: set[str] = set()
        world.venue.on_moved = self.check
        world.venue.on_duplicate = lambda key: self._add(f"sent twice: {key}")
        world.venue.on_limited = lambda limit: self._add(f"more than {limit} allows")
        self.health = HealthWatch(world, self._add, self._touched)

    @property
    def over(self) -> bool:
        """The venue takes no order any more: the data ended, or the account did."""
        return self._world.venue.core.ended or self.health.bankrupt

    def _touched(self) -> bool:
        """Whether any pair holds more than dust."""
        return any(
            abs(self._held[leg]) > self._tolerance(pair)
            for pair in self._world.pairs.values()
            for leg in (pair.long_leg, pair.short_leg)
        )

    def _add(self, text: str) -> None:
        if len(self.violations) < 20:
            seconds = (self._world.clocks.wire_ns() - START_NS) / SECOND_NS
            self.violations.append(f"{seconds:.3f} s: {text}")

    # --- at every moment ----------------------------------------------------------------------------------

    def check(self) -> None:
        """Look at every execution and interest since the last look, and at every pair's net delta."""
        executions = self._world.venue.core.executions()
        for execution in executions[self._seen :]:
            self._check_execution(execution)
        self._seen = len(executions)
        self._count_interest()
        self._check_naked()
        self.health.look()

    def _check_execution(self, execution: Execution) -> None:
        if execution.kind is not ExecutionType.FUNDING:
            self._held[execution.instrument_id] += self._change(execution)
        key = execution.order_link_id
        if execution.kind is not ExecutionType.FUNDING and not key:
            self._forced.add(execution.instrument_id)
        if execution.kind is ExecutionType.BUST or (execution.kind is ExecutionType.TRADE and not key):
            self.health.liquidated()
        if not key or execution.kind is not ExecutionType.TRADE:
            return
        row = self._world.journal.order(ClientOrderId(key))
        if row is None:
            self._add(f"the venue filled {key}, which the journal did not plan")
            return
        self._fills.add(execution.execution_id)
        request = row.request
        if request.order_class is OrderClass.ENTRY:
            intent = self._world.journal.intent(request.intent_id)
            if intent is None or intent.approval is None:
                self._add(f"ENTRY {key} of {request.intent_id} without an approval")
        self._done[(request.intent_id, request.pair_id, request.instrument_id)] += self._change(execution)
        self._check_increments(request.intent_id, request.pair_id)

    def _count_interest(self, *, now: bool = False) -> None:
        """Debts in a coin grow by interest, which no execution shows; the venue's ledger does.

        Looked at once a minute of the market, or `now`.
        """
        core = self._world.venue.core
        minute = core.now_ns // MINUTE_NS
        if minute == self._interest_minute and not now:
            return
        for row in core.ledger((self._interest_minute - 1) * MINUTE_NS):
            spot = self._spots.get(row.coin)
            if row.kind is LedgerKind.INTEREST and spot is not None and row.row_id not in self._interest:
                self._interest.add(row.row_id)
                self._held[spot] += row.change - row.debt
        self._interest_minute = minute

    def _change(self, execution: Execution) -> Decimal:
        """Base coins that an execution adds, signed, net of a fee taken in the coin."""
        base = self._world.instruments[execution.instrument_id].base
        fee = execution.fee if execution.fee_coin == base else ZERO
        return execution.side.sign * execution.quantity - fee

    def _check_increments(self, intent_id: IntentId, pair_id: PairId) -> None:
        row = self._world.journal.intent(intent_id)
        if row is None:
            # The guard's own operations are checked by the naked-leg limit: both legs go at once.
            return
        target = next((t for t in row.intent.targets if t.pair_id == pair_id), None)
        if target is None:
            self._add(f"{intent_id} traded {pair_id}, which is not in it")
            return
        self._compare(intent_id, self._world.pairs[pair_id], target)

    def _compare(self, intent_id: IntentId, pair: PairSpec, target: Target) -> None:
        sign = 1 if target.to_quantity > target.from_quantity else -1
        lead_sign = sign if pair.lead_leg == pair.long_leg else -sign
        lead = lead_sign * self._done[(intent_id, pair.pair_id, pair.lead_leg)]
        hedge = -lead_sign * self._done[(intent_id, pair.pair_id, pair.hedge_leg)]
        planned = abs(target.to_quantity - target.from_quantity)
        dust = self._tolerance(pair)
        if lead < 0 or hedge < -dust or hedge > lead + dust or lead > planned + dust:
            order = f"hedge {plain(hedge)} <= lead {plain(lead)} <= planned {plain(planned)}"
            self._add(f"{intent_id} {pair.pair_id}: {order} is broken")

    def _tolerance(self, pair: PairSpec) -> Decimal:
        rows = self._world.instruments
        price = self._world.venue.core.ticker(pair.lead_leg, with_book=False).mark
        return smallest_order(rows[pair.lead_leg], rows[pair.hedge_leg], price)

    def net_delta(self, pair: PairSpec) -> Decimal:
        """The pair's net delta in coins, by every execution, forced ones included, and interest in coins."""
        return self._held[pair.long_leg] + self._held[pair.short_leg]

    def hedged(self, pair: PairSpec) -> bool:
        """Whether the pair's net delta is within its tolerance."""
        delta = self.net_delta(pair)
        return delta == 0 or abs(delta) <= self._tolerance(pair)

    def _check_naked(self) -> None:
        now = self._world.clocks.wire_ns()
        for pair in self._world.pairs.values():
            out_of_hand = not self._world.watched or not self._world.venue.reachable or self.health.bankrupt
            if out_of_hand or self.hedged(pair):
                self._naked_since.pop(pair.pair_id, None)
                continue
            since = self._naked_since.setdefault(pair.pair_id, now)
            lasted = now - since
            most = NAKED_ROTTEN_MAX_NS if self._world.weather.rotten else NAKED_MAX_NS
            if lasted > most >= self.naked_max_ns:
                self._add(f"{pair.pair_id} is naked by {self.net_delta(pair)} for {lasted / SECOND_NS:.1f} s")
            self.naked_max_ns = max(self.naked_max_ns, lasted)

    # --- at the end ---------------------------------------------------------------------------------------

    def final(self) -> None:
        """Everything is quiet: the books must agree, leg by leg and fill by fill."""
        self._count_interest(now=True)
        journal = self._world.journal
        booked = [row.fill.fill_id for row in journal.fills()]
        if len(booked) != len(set(booked)):
            self._add("a fill is booked twice")
        for missing in sorted(self._fills - set(booked)):
            self._add(f"fill {missing} is not booked")
        for foreign in sorted(set(booked) - self._fills):
            self._add(f"booked fill {foreign} never happened")
        unsettled = [row.request.client_order_id for row in journal.orders(unsettled_only=True)]
        if unsettled and not self.over:
            self._add(f"orders without an end: {', '.join(unsettled)}")
        for pair in self._world.pairs.values():
            self._check_held(pair)
            if not self.hedged(pair) and not self.over:
                self._add(f"{pair.pair_id} ends naked by {self.net_delta(pair)}")
        if not self.over and not self._touched():
            self._check_debts()
        self._check_forced()
        for broken in broken_records(journal):
            self._add(broken)

    def _check_forced(self) -> None:
        for row in self._world.journal.guard_actions(_GUARD_ACTIONS):
            if not isinstance(row.entry, GuardActed) or row.entry.rule != Rule.FORCED:
                continue
            for pair_id in row.entry.pairs:
                pair = self._world.pairs[pair_id]
                if self._forced.isdisjoint((pair.long_leg, pair.short_leg)):
                    self._add(f"{pair_id} was cut for a reduction that the venue did not make")

    def owing(self) -> tuple[Coin, ...]:
        """Coins that are owed though there is some to repay with."""
        core = self._world.venue.core
        rows = (row.balance for row in core.coins())
        return tuple(
            row.coin
            for row in rows
            if min(row.spot_borrow, row.wallet - row.locked) * core.usd_price(row.coin) > SWEEP_MIN_USD
        )

    @property
    def flat(self) -> bool:
        """No pair holds more than dust."""
        return not self._touched()

    def _check_debts(self) -> None:
        for coin in self.owing():
            self._add(f"the book is closed, yet {coin} is owed while there is some to repay with")

    def _check_held(self, pair: PairSpec) -> None:
        """Executions, and interest paid in the coin, must add up to what the venue says is held."""
        core = self._world.venue.core
        coins = {row.balance.coin: row.balance for row in core.coins(every=True)}
        for leg in (pair.long_leg, pair.short_leg):
            if self._world.instruments[leg].kind is InstrumentKind.SPOT:
                quantity = coins[pair.coin].wallet - coins[pair.coin].spot_borrow
            else:
                position = core.position(leg).position
                quantity = ZERO if position is None else position.quantity
            if quantity != self._held[leg]:
                self._add(f"{leg}: the venue holds {quantity}, its executions say {self._held[leg]}")
