"""ArbitrageEngine: moves one pair in hedged slices. One engine per pair, one operation at a time."""

from decimal import Decimal

import anyio

from portfolio.core.decimals import ONE, ZERO
from portfolio.core.errors import InputError
from portfolio.core.pairs import PairLegs, PairSpec, PairStatus
from portfolio.legs import Kit
from portfolio.move import Move
from portfolio.operations import MoveResult, Operation


class ArbitrageEngine:
    """Invariant of every operation, entry and exit alike: `0 <= hedge done <= lead done <= planned`."""

    def __init__(self, kit: Kit, pair: PairSpec) -> None:
        self.pair = pair
        self._kit = kit
        self._fence = False
        self._move: Move | None = None
        self._operation: Operation | None = None
        self._busy = anyio.Lock()

    async def move(self, operation: Operation) -> MoveResult:
        """Carry the operation to its target, or stop hedged; the same operation again continues it.

        Raises:
            InputError: the operation is for another pair.
            JournalError: the journal may not be used by us at all.
        """
        if operation.pair_id != self.pair.pair_id:
            raise InputError(f"{operation.pair_id} is not {self.pair.pair_id}.", field="pair_id")
        async with self._busy:
            self._fence = False
            self._operation = operation
            self._move = move = Move(self._kit, self.pair, operation, self._fenced)
            try:
                return await move.run()
            finally:
                self._operation = None

    def fence(self) -> None:
        """Stop the running operation before its next order."""
        self._fence = True

    def _fenced(self) -> bool:
        return self._fence or self._kit.guard.holds(self.pair.pair_id)

    @property
    def operation(self) -> Operation | None:
        """What it is moving now."""
        return self._operation

    @property
    def freed(self) -> Decimal:
        """Share of the running or last exit that is hedged and repaid, 0 to 1."""
        return ZERO if self._move is None else min(ONE, self._move.freed)

    def wanted(self) -> Decimal | None:
        """The size its operation wants, coins of one leg; None: nothing is moving."""
        return None if self._operation is None else self._operation.course.to_quantity

    def status(self, legs: PairLegs) -> PairStatus:
        """Where the pair is in its life."""
        if self._kit.guard.holds(self.pair.pair_id):
            return PairStatus.GUARDED
        if self._operation is not None and self._move is not None:
            if self._move.taking_back:
                return PairStatus.UNWINDING
            return PairStatus.ENTERING if self._operation.course.entering else PairStatus.EXITING
        held = max(legs.long_quantity, legs.short_quantity) > 0
        return PairStatus.HELD if held else PairStatus.FLAT
