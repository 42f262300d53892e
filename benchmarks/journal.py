"""The journal on a file: transactions with fsync and every projection, in the worker's batches."""

import os
import time
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks import made
from benchmarks.measure import Result, ms, spread, timed
from portfolio.core.client_ids import client_order_id
from portfolio.core.entries import Entry, OrderAnswered, OrderPlanned
from portfolio.core.limits import SECOND_NS
from portfolio.core.names import AccountId, IntentId
from portfolio.core.orders import OrderClass, OrderRequest, Side, TimeInForce
from portfolio.core.pairs import PairSpec
from portfolio.core.universe import carry_pairs
from portfolio.journal.open import open_journal
from portfolio.journal.sql import SqlJournal

BATCH = 20
#: On the same disk as the tree: a RAM disk would make fsync free.
WORK = Path("build")


def run(*, tiny: bool = False) -> Result:
    """Orders planned and answered, a batch of 20 entries in each transaction; beside it a bare fsync."""
    batches = 4 if tiny else 300
    WORK.mkdir(exist_ok=True)
    with TemporaryDirectory(prefix="bench-journal-", dir=WORK) as folder:
        path = Path(folder, "journal.db")
        samples, seconds = _append(path, batches)
        verified, size = _verify(path)
        bare = _bare_fsync(Path(folder, "bare"), 5 if tiny else 100)
    return {
        "batch": BATCH,
        "append_batch_ms": spread(samples),
        "entries_per_second": round(batches * BATCH / seconds),
        "batches_per_second": round(batches / seconds, 1),
        "bare_write_fsync_ms": spread(bare),
        "append_over_bare_fsync": round(spread(samples)["p50"] / spread(bare)["p50"], 2),
        "verify_ms": verified,
        "verified_entries": size,
    }


def _append(path: Path, batches: int) -> tuple[list[float], float]:
    journal = _open(path)
    pairs = list(carry_pairs(made.venue(1, Decimal(1)).instruments()).values())
    samples = []
    start = time.perf_counter_ns()
    for number in range(batches // 2):
        planned = [_order(number * BATCH + item, pairs[0]) for item in range(BATCH)]
        for entries in (_planned(planned), _answered(planned)):
            before = time.perf_counter_ns()
            journal.append(entries, made.START_NS + number)
            samples.append(ms(time.perf_counter_ns() - before))
    seconds = (time.perf_counter_ns() - start) / SECOND_NS
    journal.close()
    return samples, seconds


def _planned(orders: list[OrderRequest]) -> list[Entry]:
    return [OrderPlanned(order, made.START_NS + 2 * SECOND_NS) for order in orders]


def _answered(orders: list[OrderRequest]) -> list[Entry]:
    return [OrderAnswered(order.client_order_id, "rejected", None, "110007: no") for order in orders]


def _order(number: int, pair: PairSpec) -> OrderRequest:
    intent = IntentId("gbench")
    return OrderRequest(
        client_order_id=client_order_id(intent, pair.short_leg, number, 0),
        instrument_id=pair.short_leg,
        side=Side.BUY,
        quantity=Decimal("0.5"),
        limit_price=Decimal(60_000),
        time_in_force=TimeInForce.IOC,
        reduce_only=True,
        borrow=False,
        order_class=OrderClass.REDUCE,
        pair_id=pair.pair_id,
        intent_id=intent,
    )


def _verify(path: Path) -> tuple[float, int]:
    """Milliseconds to walk the whole chain, and its entries."""
    journal = _open(path)
    (sample,), found = timed(journal.verify, 1, warm_up=0)
    journal.close()
    assert found.ok, found.detail
    return sample, found.entries


def _bare_fsync(path: Path, times: int) -> list[float]:
    """Append 4 KiB and fsync: what the disk alone needs."""
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def write() -> None:
        os.write(handle, bytes(4096))
        os.fsync(handle)

    try:
        return timed(write, times)[0]
    finally:
        os.close(handle)


def _open(path: Path) -> SqlJournal:
    return open_journal(
        path,
        account=AccountId("bybit:main"),
        uid=made.UID,
        mode="paper",
        wire_ns=made.START_NS,
        version="bench",
    )
