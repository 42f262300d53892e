"""Where Bybit is: a value per environment, so that paper, testnet and live differ by settings only."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class BybitUrls:
    """Base addresses without a trailing slash. `ws_public` lacks the category (`/spot`, `/linear`)."""

    rest: str
    ws_public: str
    ws_private: str
    ws_trade: str
    #: Extra public topic that announces the end of a paper venue's history; "" where there is none.
    end_topic: str = ""


MAINNET = BybitUrls(
    rest="https://api.bybit.com",
    ws_public="wss://stream.bybit.com/v5/public",
    ws_private="wss://stream.bybit.com/v5/private",
    ws_trade="wss://stream.bybit.com/v5/trade",
)

TESTNET = BybitUrls(
    rest="https://api-testnet.bybit.com",
    ws_public="wss://stream-testnet.bybit.com/v5/public",
    ws_private="wss://stream-testnet.bybit.com/v5/private",
    ws_trade="wss://stream-testnet.bybit.com/v5/trade",
)

PAPER_END_TOPIC = "paper.end"


def paper(host: str, port: int) -> BybitUrls:
    """The embedded venue on this machine."""
    return BybitUrls(
        rest=f"http://{host}:{port}",
        ws_public=f"ws://{host}:{port}/v5/public",
        ws_private=f"ws://{host}:{port}/v5/private",
        ws_trade=f"ws://{host}:{port}/v5/trade",
        end_topic=PAPER_END_TOPIC,
    )
