"""A real carry book: hedged pairs traded on a paper venue over recorded prices, as a desk would show it."""

from dataclasses import replace
from decimal import Decimal

from exchanges.paper import domain
from exchanges.paper.commands import PlaceOrder
from exchanges.paper.config import VenueConfig
from exchanges.paper.core import VenueCore
from exchanges.paper.replay import ParquetReplay, parse_date
from portfolio.core.decimals import round_up_to_step
from portfolio.core.guard.gap_sample import GapSample
from portfolio.core.margin import bybit_uta
from portfolio.core.names import Coin, Narrative, PairId
from portfolio.core.orders import Side, TimeInForce
from portfolio.core.pairs import ArbitragePair, PairLegs, PairSpec, PairStatus
from portfolio.service import DeskSnapshot
from tests.tools.sample_desk import BYBIT, perpetual, snapshot, spot

START = parse_date("2024-11-01")
COINS = ("BTC", "ETH", "SOL", "XRP", "DOGE", "BNB", "AVAX")


def carry_core(*, usdt: int = 100_000, leg_usd: int = 40_000) -> VenueCore:
    """Seven pairs of `leg_usd` a leg, bought on borrowed cash where the equity does not reach."""
    config = VenueConfig(uid="u1", start_ns=START, balances={Coin("USDT"): Decimal(usdt)})
    core = VenueCore(config, ParquetReplay(BYBIT, seed=1), seed=1)
    core.advance(START + 3_600_000_000_000)
    for coin in COINS:
        lot = core.listing(perpetual(coin)).instrument.lot_size
        wanted = Decimal(leg_usd) / core.ticker(perpetual(coin)).mark
        quantity = wanted // lot * lot
        # A spot purchase pays its fee in the coin.
        gross = round_up_to_step(quantity / Decimal("0.999"), core.listing(spot(coin)).instrument.lot_size)
        left = {perpetual(coin): quantity, spot(coin): gross}
        while any(left.values()):
            for name, side in ((perpetual(coin), Side.SELL), (spot(coin), Side.BUY)):
                if not left[name]:
                    continue
                seen = len(core.executions())
                reply = core.handle(
                    PlaceOrder("", name, side, left[name], None, TimeInForce.IOC, borrow=side is Side.BUY),
                    core.now_ns,
                )
                assert reply.ok, reply
                left[name] -= sum((row.quantity for row in core.executions()[seen:]), start=Decimal(0))
            core.advance(core.now_ns + 5_000_000_000)
    return core


def carry_snapshot(core: VenueCore) -> DeskSnapshot:
    """What a desk that holds these pairs would show at this moment."""
    state = core.margin_state()
    sample = snapshot()
    account = domain.account_snapshot(core, sample.wire_ns)
    specs = [
        PairSpec(PairId(f"{c}@bybit"), Coin(c), Narrative(c), spot(c), perpetual(c), perpetual(c))
        for c in COINS
    ]
    wallets = {row.coin: row.wallet for row in state.balances}
    shorts = {row.instrument_id: -row.quantity for row in state.positions}
    legs = {row.pair_id: PairLegs(row.pair_id, wallets[row.coin], shorts[row.short_leg]) for row in specs}
    ours = bybit_uta.value(state).figures
    guard = replace(
        sample.guard,
        figures=ours,
        venue_figures=account.figures,
        margin_gap=GapSample(0, ours, account.figures).gap,
        gap_samples=(GapSample(sample.wire_ns, ours, account.figures),),
    )
    return replace(
        sample,
        venue=account,
        state=state,
        pairs=tuple(
            ArbitragePair(
                row, f"{row.coin}USDT", legs[row.pair_id].hedged, None, PairStatus.HELD, row.narrative
            )
            for row in specs
        ),
        legs=legs,
        guard=guard,
    )
