from dataclasses import replace
from decimal import Decimal

import pytest

from portfolio.core.errors import InputError, RefusedError
from portfolio.core.names import PairId
from portfolio.service import Principal
from tests.tools.sample_desk import SampleDesk, perpetual, snapshot
from tools.propose import ProposeArguments, ProposeResult, propose_rebalance

pytestmark = pytest.mark.anyio
SOL_UP = {"pair": "SOL@bybit", "notional_usd": "30000"}


async def propose(desk: SampleDesk, agent: Principal, **arguments: object) -> ProposeResult:
    merged = {"reason": "why", **arguments}
    return await propose_rebalance(desk, agent, ProposeArguments.model_validate(merged))


async def test_a_change_becomes_an_intent_with_a_digest(desk: SampleDesk, agent: Principal) -> None:
    result = await propose(
        desk,
        agent,
        kind="changes",
        targets=[SOL_UP],
        request_id="r1",
        constraints={"min_health": 0.9},
        expires_in_minutes=5,
    )
    assert (result.status, result.intent_id, result.digest) == ("proposed", "i7f3a", "ef" * 32)
    assert result.will_need == "human"
    assert result.changes[0].model_dump()["to_usd"] == "30000"
    assert len(result.void_if) == 5
    assert "nothing has been traded" in result.summary
    sent = desk.proposals[0]
    assert (sent.min_health, sent.request_id, sent.expires_in_minutes) == (Decimal("0.9"), "r1", 5)
    assert sent.targets[0].notional_usd == Decimal(30_000)


async def test_no_change_says_what_came_closest(desk: SampleDesk, agent: Principal) -> None:
    target = {"pair": "DOGE@bybit", "notional_usd": 0}
    result = await propose(desk, agent, kind="changes", targets=[target])
    assert (result.status, result.intent_id, result.void_if) == ("no_change", None, [])
    assert result.best_rejected == "DOGE@bybit: not a pair of this desk"


async def test_a_repeated_request_is_marked(desk: SampleDesk, agent: Principal) -> None:
    result = await propose(desk, agent, kind="changes", targets=[SOL_UP], request_id="again")
    assert result.repeated
    assert "already stands for intent i7f3a" in result.summary
    assert "sizes" not in result.summary  # other sizes would have been refused
    assert "nothing has been traded" not in result.summary  # the intent may be done
    result = await propose(desk, agent, kind="engine_target", request_id="again")
    assert "sizes are the engine's of that time" in result.summary


async def test_ones_own_budget_is_kept(desk: SampleDesk, agent: Principal) -> None:
    with pytest.raises(RefusedError, match="turnover would be 20000 USD"):
        await propose(
            desk, agent, kind="changes", targets=[SOL_UP], constraints={"turnover_max_usd": "19999"}
        )
    # both legs of 10 000 USD at the mean of 10 and 5.5 bps
    with pytest.raises(RefusedError, match=r"cost about 15\.5 USD"):
        await propose(desk, agent, kind="changes", targets=[SOL_UP], constraints={"cost_max_usd": "15"})
    assert desk.proposals == []
    await propose(
        desk,
        agent,
        kind="changes",
        targets=[SOL_UP],
        constraints={"turnover_max_usd": "20000", "cost_max_usd": "15.5"},
    )
    assert len(desk.proposals) == 1


async def test_a_pair_cannot_be_a_target_and_excluded(desk: SampleDesk, agent: Principal) -> None:
    with pytest.raises(InputError, match="both a target and excluded"):
        await propose(desk, agent, kind="changes", targets=[SOL_UP], constraints={"exclude": ["SOL@bybit"]})


async def test_the_engines_target_is_sized_by_the_account_and_sent_as_its_kind(
    desk: SampleDesk, agent: Principal
) -> None:
    result = await propose(desk, agent, kind="engine_target")
    assert result.status == "proposed"
    sent = desk.proposals[0]
    assert sent.kind == "engine_target"
    assert {target.pair_id for target in sent.targets} <= {"BTC@bybit", "ETH@bybit", "SOL@bybit"}
    assert all(target.notional_usd > 0 for target in sent.targets)


async def test_every_pair_of_the_engines_target_has_the_line_of_its_gates(
    desk: SampleDesk, agent: Principal
) -> None:
    result = await propose(desk, agent, kind="engine_target", constraints={"exclude": ["BTC@bybit"]})
    changed = {row.pair: row.gate for row in result.changes}
    skipped = {row.pair: row.why for row in result.skipped}
    assert set(changed) | set(skipped) == {"BTC@bybit", "ETH@bybit", "SOL@bybit"}
    assert skipped["BTC@bybit"] == "excluded by you"
    assert changed["ETH@bybit"].startswith("entered; ")
    assert changed["ETH@bybit"].endswith("; pays back in 2 days")


async def test_a_held_pair_whose_inputs_are_missing_is_left_alone(agent: Principal) -> None:
    book = snapshot()
    assert book.state is not None
    instruments = dict(book.state.instruments)
    instruments[perpetual("SOL")] = replace(instruments[perpetual("SOL")], funding_interval_minutes=None)
    desk = SampleDesk(book=replace(book, state=replace(book.state, instruments=instruments)))
    result = await propose(desk, agent, kind="engine_target")
    assert "SOL@bybit" not in {target.pair_id for request in desk.proposals for target in request.targets}
    assert {row.pair: row.why for row in result.skipped}["SOL@bybit"] == "the venue names no funding interval"


async def test_one_proposal_changes_at_most_a_days_pace(desk: SampleDesk, agent: Principal) -> None:
    result = await propose(desk, agent, kind="engine_target")
    equity = desk.book.guard.figures.total_equity if desk.book.guard.figures is not None else Decimal(0)
    held = {"SOL@bybit": Decimal(20_000)}
    turned = sum(abs(t.notional_usd - held.get(t.pair_id, Decimal(0))) for t in desk.proposals[0].targets)
    assert turned <= equity / 10 + 1
    assert any("of it today" in row.gate for row in result.changes)


async def test_the_engine_leaves_excluded_pairs_and_never_grows_one_in_reduce_only(
    desk: SampleDesk, agent: Principal
) -> None:
    book = desk.book
    sol = PairId("SOL@bybit")
    half = {
        sol: replace(
            book.legs[sol],
            long_quantity=book.legs[sol].long_quantity / 2,
            short_quantity=book.legs[sol].short_quantity / 2,
        )
    }
    small = SampleDesk(book=replace(book, legs={**book.legs, **half}))
    await propose(small, agent, kind="engine_target", constraints={"exclude": ["ETH@bybit", "BTC@bybit"]})
    assert {target.pair_id for target in small.proposals[0].targets} == {sol}
    result = await propose(desk, agent, kind="engine_target", constraints={"reduce_only": True})
    for request in desk.proposals:
        assert all(target.notional_usd <= 20_000 for target in request.targets)
    assert result.status in ("proposed", "no_change")


async def test_when_nothing_may_be_held_the_engine_says_no_change(agent: Principal) -> None:
    book = snapshot()
    limits = replace(book.limits, book=replace(book.limits.book, quality_min=Decimal(10)))
    flat = {
        name: replace(legs, long_quantity=Decimal(0), short_quantity=Decimal(0))
        for name, legs in book.legs.items()
    }
    desk = SampleDesk(book=replace(book, limits=limits, legs=flat))
    result = await propose(desk, agent, kind="engine_target")
    assert result.status == "no_change"
    assert result.best_rejected is not None
    assert "below 10" in result.best_rejected
    assert desk.proposals == []


@pytest.mark.parametrize(
    "arguments",
    [
        {"kind": "changes"},
        {"kind": "engine_target", "targets": [SOL_UP]},
        {"kind": "everything"},
        {"kind": "changes", "targets": [{"pair": "SOL@bybit", "notional_usd": -1}]},
        {"kind": "changes", "targets": [{"pair": "SOL@bybit", "notional_usd": "nan"}]},
        {"kind": "changes", "targets": [{"pair": "SOL@bybit", "notional_usd": 1e12}]},
        {"kind": "changes", "targets": [{"pair": "SOL@bybit", "notional_usd": "1e-999999999"}]},
        {"kind": "changes", "targets": [{"pair": "SOL@bybit", "notional_usd": "0E-999999999"}]},
        {"kind": "changes", "targets": [{"pair": "SOL@bybit", "notional_usd": "1_000"}]},
        {"kind": "changes", "targets": [{"pair": "SOL@bybit", "notional_usd": "\uff11"}]},
        {"kind": "changes", "targets": [{"pair": "SOL@bybit", "notional_usd": 10**5000}]},
        {"kind": "changes", "targets": [SOL_UP], "constraints": {"cost_max_usd": "1e-999999999"}},
        {"kind": "changes", "targets": [{"pair": "SOL; rm", "notional_usd": 1}]},
        {"kind": "changes", "targets": [SOL_UP], "reason": ""},
        {"kind": "changes", "targets": [SOL_UP], "expires_in_minutes": 31},
        {"kind": "changes", "targets": [SOL_UP], "constraints": {"min_helth": 1}},
    ],
)
def test_senseless_requests_do_not_even_parse(arguments: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="validation error"):
        ProposeArguments.model_validate({"reason": "why", **arguments})
