"""Private REST endpoints about the account: key, wallet, positions, borrowing, ledger, settings."""

from exchanges.paper.bybit import intake, render_account, render_market
from exchanges.paper.bybit.market_endpoints import named
from exchanges.paper.bybit.paging import by_window, page
from exchanges.paper.bybit.venue import PaperVenue
from exchanges.paper.bybit.wire import Answer, Call, Refusal, Row, plain
from exchanges.paper.commands import Command
from portfolio.core.instrument import InstrumentKind
from portfolio.core.names import Coin


def do(venue: PaperVenue, command: Command) -> None:
    """Carry out a command whose answer is only yes or no."""
    reply = venue.handle(command)
    if not reply.ok:
        raise Refusal(reply.code, reply.message)


def key_info(venue: PaperVenue, call: Call) -> Answer:
    """A key that may trade and may not withdraw."""
    return Answer(
        {
            "id": "1",
            "note": "paper",
            "apiKey": venue.key.api_key,
            "readOnly": 0,
            "secret": "",
            "permissions": {
                "ContractTrade": ["Order", "Position"],
                "Spot": ["SpotTrade"],
                "Wallet": [],
                "Options": [],
                "Derivatives": ["DerivativesTrade"],
                "CopyTrading": [],
                "BlockTrade": [],
                "Exchange": [],
                "NFT": [],
                "Affiliate": [],
            },
            "ips": ["127.0.0.1"],
            "type": 1,
            "deadlineDay": -2,
            "expiredAt": "1970-01-01T00:00:00Z",
            "createdAt": "2025-01-01T00:00:00Z",
            "unified": 0,
            "uta": 1,
            "userID": int(venue.core.config.uid),
            "inviterID": 0,
            "vipLevel": "No VIP",
            "mktMakerLevel": "0",
            "affiliateID": 0,
            "rsaPublicKey": "",
            "isMaster": True,
            "parentUid": "0",
            "kycLevel": "LEVEL_DEFAULT",
            "kycRegion": "",
        },
        message="",
    )


def account_info(venue: PaperVenue, call: Call) -> Answer:
    """Always UTA 2.0 Pro, in cross margin."""
    return Answer(
        {
            "marginMode": venue.core.config.margin_mode,
            "updatedTime": "1697078946000",
            "unifiedMarginStatus": 6,
            "dcpStatus": "OFF",
            "timeWindow": 10,
            "smpGroup": 0,
            "isMasterTrader": False,
            "spotHedgingStatus": "OFF",
        }
    )


def wallet_balance(venue: PaperVenue, call: Call) -> Answer:
    """The unified account; with `coin` also those that are empty."""
    if call.text("accountType") != "UNIFIED":
        raise Refusal("10001", "accountType only support UNIFIED.")
    core = venue.now()
    wanted = [Coin(name) for name in call.text("coin", "").split(",") if name]
    rows = core.coins(every=bool(wanted))
    coins = tuple(row for row in rows if not wanted or row.balance.coin in wanted)
    return Answer({"list": [render_account.wallet(core, coins, core.figures())]})


def funding_balance(venue: PaperVenue, call: Call) -> Answer:
    """The funding wallet is empty here; the unified one shows what it holds."""
    kind = call.text("accountType")
    held = venue.now().coins() if kind == "UNIFIED" else ()
    rows = [
        {
            "coin": row.balance.coin,
            "walletBalance": plain(row.balance.wallet),
            "transferBalance": "0",
            "bonus": "",
        }
        for row in held
    ]
    return Answer({"memberId": venue.core.config.uid, "accountType": kind, "balance": rows})


def positions(venue: PaperVenue, call: Call) -> Answer:
    """By symbol (also when flat) or by settlement coin (open ones)."""
    if call.text("category") in ("inverse", "option"):
        return Answer({"category": call.text("category"), "list": [], "nextPageCursor": ""})
    if call.kind() is not InstrumentKind.PERPETUAL:
        raise Refusal("10001", "params error: category is invalid")
    if call.text("symbol", ""):
        name = named(venue, call)
        found = [venue.now().position(name)]
    else:
        call.text("settleCoin")
        found = list(venue.now().positions())
    rows = [render_account.position(venue.core, row, pushed=False) for row in found]
    return page(rows, call, limit=20, most=200, category="linear")


def set_leverage(venue: PaperVenue, call: Call) -> Answer:
    """110043 when it is so already."""
    named(venue, call)
    do(venue, intake.set_leverage(call))
    return Answer({})


def fee_rate(venue: PaperVenue, call: Call) -> Answer:
    """Of one symbol, a category, or all."""
    category, symbol = call.text("category", ""), call.text("symbol", "")
    rows: list[Row] = []
    for one in venue.core.instruments():
        rates = venue.core.tables(0).fees.get(one.instrument_id)
        if rates is not None and category in ("", one.kind.value) and symbol in ("", one.symbol):
            rows.append(
                {
                    "symbol": one.symbol,
                    "baseCoin": one.base,
                    "takerFeeRate": plain(rates.taker),
                    "makerFeeRate": plain(rates.maker),
                }
            )
    return Answer({"category": category, "list": rows})


def collateral_info(venue: PaperVenue, call: Call) -> Answer:
    """Switches, borrow rates and limits."""
    wanted = call.text("currency", "")
    tables = venue.now().tables(0)
    coins = sorted({*tables.collateral, *tables.borrow})
    rows = [render_market.collateral_info(venue.core, coin) for coin in coins if wanted in ("", coin)]
    return Answer({"list": rows})


def set_collateral_switch(venue: PaperVenue, call: Call) -> Answer:
    """ON or OFF."""
    do(venue, intake.set_collateral(call))
    return Answer({})


def transaction_log(venue: PaperVenue, call: Call) -> Answer:
    """Newest first; at most seven days."""
    core = venue.now()
    kind, coin = call.text("type", ""), call.text("currency", "")
    category = call.text("category", "")
    found = [
        render_account.ledger(row)
        for row in by_window(core.ledger(0), call, core.now_ns, default_days=1)
        if kind in ("", row.kind.value) and coin in ("", row.coin)
    ]
    rows = [row for row in found if category in ("", row["category"])]
    return page(rows, call, limit=20, most=50)


def margin_state(venue: PaperVenue, call: Call) -> Answer:
    """Spot margin is on."""
    return Answer(
        {
            "spotLeverage": plain(venue.core.spot_leverage),
            "spotMarginMode": "1",
            "effectiveLeverage": "",
        }
    )


def switch_margin(venue: PaperVenue, call: Call) -> Answer:
    """It cannot be switched off here."""
    if call.text("spotMarginMode") != "1":
        raise Refusal("10001", "The paper venue always has spot margin on")
    return Answer({"spotMarginMode": "1"})


def set_spot_leverage(venue: PaperVenue, call: Call) -> Answer:
    """2 to 10."""
    do(venue, intake.set_spot_leverage(call))
    return Answer({})


def max_borrowable(venue: PaperVenue, call: Call) -> Answer:
    """What the limit leaves."""
    coin = Coin(call.text("currency"))
    row = render_market.collateral_info(venue.now(), coin)
    return Answer({"currency": coin, "maxLoan": row["availableToBorrow"]})


def borrow(venue: PaperVenue, call: Call) -> Answer:
    """By hand."""
    command = intake.borrow(call)
    do(venue, command)
    return Answer({"coin": command.coin, "amount": plain(command.quantity)})


def repay(venue: PaperVenue, call: Call) -> Answer:
    """Without conversion; floating debt is repaid at once."""
    do(venue, intake.repay(call))
    return Answer({"resultStatus": "SU"})
