"""Every endpoint of the facade by path, and the one way all of them are called."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from exchanges.paper.bybit import account_endpoints as account
from exchanges.paper.bybit import market_endpoints as market
from exchanges.paper.bybit import order_endpoints as orders
from exchanges.paper.bybit.limits import Taken
from exchanges.paper.bybit.venue import PaperVenue
from exchanges.paper.bybit.wire import Answer, Call, Refusal

Handler = Callable[[PaperVenue, Call], Answer]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One path. Public ones are neither signed nor limited."""

    handler: Handler
    method: str
    public: bool = False
    #: SDKs differ in whether they sign it; a signature is checked when there is one.
    either: bool = False


def _get(handler: Handler) -> Endpoint:
    return Endpoint(handler, "GET")


def _open(handler: Handler) -> Endpoint:
    return Endpoint(handler, "GET", public=True)


def _post(handler: Handler) -> Endpoint:
    return Endpoint(handler, "POST")


#: By path without `/v5/`, which is also the name of its rate limit.
ENDPOINTS: Mapping[str, Endpoint] = {
    "market/time": _open(market.time),
    "market/instruments-info": _open(market.instruments),
    "market/tickers": _open(market.tickers),
    "market/orderbook": _open(market.orderbook),
    "market/kline": _open(market.kline),
    "market/mark-price-kline": _open(market.mark_kline),
    "market/index-price-kline": _open(market.index_kline),
    "market/funding/history": _open(market.funding_history),
    "market/risk-limit": _open(market.risk_limit),
    "spot-margin-trade/collateral": _open(market.collateral),
    "spot-margin-trade/data": _open(market.margin_data),
    "spot-margin-trade/position-tiers": Endpoint(market.position_tiers, "GET", either=True),
    "asset/coin/query-info": _get(market.coin_info),
    "asset/transfer/query-account-coins-balance": _get(account.funding_balance),
    "user/query-api": _get(account.key_info),
    "account/info": _get(account.account_info),
    "account/wallet-balance": _get(account.wallet_balance),
    "account/fee-rate": _get(account.fee_rate),
    "account/collateral-info": _get(account.collateral_info),
    "account/set-collateral-switch": _post(account.set_collateral_switch),
    "account/transaction-log": _get(account.transaction_log),
    "account/borrow": _post(account.borrow),
    "account/no-convert-repay": _post(account.repay),
    "spot-margin-trade/state": _get(account.margin_state),
    "spot-margin-trade/switch-mode": _post(account.switch_margin),
    "spot-margin-trade/set-leverage": _post(account.set_spot_leverage),
    "spot-margin-trade/max-borrowable": _get(account.max_borrowable),
    "position/list": _get(account.positions),
    "position/set-leverage": _post(account.set_leverage),
    "order/create": _post(orders.create),
    "order/amend": _post(orders.amend),
    "order/cancel": _post(orders.cancel),
    "order/cancel-all": _post(orders.cancel_all),
    "order/pre-check": _post(orders.pre_check),
    "order/create-batch": _post(orders.create_batch),
    "order/amend-batch": _post(orders.amend_batch),
    "order/cancel-batch": _post(orders.cancel_batch),
    "order/realtime": _get(orders.realtime),
    "order/history": _get(orders.history),
    "execution/list": _get(orders.executions),
}


def limited(venue: PaperVenue, name: str, call: Call) -> tuple[Call, Taken]:
    """Use the endpoint's limit: one per request, one per item of a batch.

    Raises:
        Refusal: 10006: nothing is left. A batch instead learns how many of its items may pass.
    """
    batch = name.endswith("-batch")
    items = call.values.get("request")
    count = len(items) if batch and isinstance(items, list) and items else 1
    taken = venue.limits.take(name, call.text("category", ""), count, venue.clock.wire_ns())
    if batch:
        return replace(call, allowed=taken.granted), taken
    if not taken.granted:
        raise Limited(taken)
    return call, taken


class Limited(Refusal):
    """Refused by a rate limit; the answer still carries its headers."""

    def __init__(self, taken: Taken) -> None:
        super().__init__("10006", "Too many visits. Exceeded the API Rate Limit.")
        self.taken = taken
