"""Market rows of the wire: instruments, tickers, books, candles, risk tables."""

from collections.abc import Sequence
from decimal import Decimal

from exchanges.paper.bybit.wire import Row, ms, plain
from exchanges.paper.bybit_tables import Listing
from exchanges.paper.core import VenueCore
from exchanges.paper.rows import Candle, Ticker
from portfolio.core.instrument import Instrument
from portfolio.core.market import Level
from portfolio.core.names import Coin
from portfolio.core.risk import BorrowTable, CollateralTable, PositionTier


def _text(value: Decimal | None) -> str:
    return "" if value is None else plain(value)


def linear_instrument(listing: Listing, launch_ns: int) -> Row:
    """One row of instruments-info, linear."""
    one = listing.instrument
    ratios = {
        "priceLimitRatioX": plain(listing.price_limit_x),
        "priceLimitRatioY": plain(listing.price_limit_y),
    }
    return {
        "symbol": one.symbol,
        "symbolId": 0,
        "contractType": "LinearPerpetual",
        "status": "Trading",
        "baseCoin": one.base,
        "quoteCoin": one.quote,
        "settleCoin": one.quote,
        "launchTime": ms(launch_ns),
        "deliveryTime": "0",
        "deliveryFeeRate": "",
        "priceScale": str(_places(one.tick_size)),
        "leverageFilter": {
            "minLeverage": "1",
            "maxLeverage": _text(one.leverage_max),
            "leverageStep": "0.01",
        },
        "priceFilter": {
            "minPrice": plain(one.tick_size),
            "maxPrice": "1999999",
            "tickSize": plain(one.tick_size),
        },
        "lotSizeFilter": {
            "maxOrderQty": _text(one.quantity_max),
            "maxMktOrderQty": _text(one.market_quantity_max),
            "minOrderQty": plain(one.quantity_min),
            "qtyStep": plain(one.lot_size),
            "postOnlyMaxOrderQty": _text(one.quantity_max),
            "minNotionalValue": plain(one.notional_min),
        },
        "unifiedMarginTrade": True,
        "fundingInterval": one.funding_interval_minutes,
        "copyTrading": "none",
        "upperFundingRate": "0.00375",
        "lowerFundingRate": "-0.00375",
        "isPreListing": False,
        "preListingInfo": None,
        "riskParameters": ratios,
        "symbolType": "",
        "displayName": "",
    }


def spot_instrument(listing: Listing) -> Row:
    """One row of instruments-info, spot."""
    one = listing.instrument
    return {
        "symbolId": 0,
        "symbol": one.symbol,
        "baseCoin": one.base,
        "quoteCoin": one.quote,
        "innovation": "0",
        "symbolType": "",
        "status": "Trading",
        "marginTrading": "utaOnly" if one.marginable else "none",
        "stTag": "0",
        "lotSizeFilter": {
            "basePrecision": plain(one.lot_size),
            "quotePrecision": "0.0000001",
            "minOrderQty": plain(one.quantity_min),
            "maxOrderQty": _text(one.quantity_max),
            "minOrderAmt": plain(one.notional_min),
            "maxOrderAmt": "4000000",
            "maxLimitOrderQty": _text(one.quantity_max),
            "maxMarketOrderQty": _text(one.market_quantity_max),
            "postOnlyMaxLimitOrderSize": _text(one.quantity_max),
        },
        "priceFilter": {"tickSize": plain(one.tick_size)},
        "riskParameters": {
            "priceLimitRatioX": plain(listing.price_limit_x),
            "priceLimitRatioY": plain(listing.price_limit_y),
        },
    }


def _places(step: Decimal) -> int:
    return max(0, -int(step.normalize().as_tuple().exponent))


def ticker(one: Instrument, row: Ticker) -> Row:
    """A REST ticker; statistics over 24 h are MADE (no change), the archive has no volumes."""
    last = plain(row.last)
    common: Row = {
        "symbol": one.symbol,
        "lastPrice": last,
        "prevPrice24h": last,
        "price24hPcnt": "0",
        "highPrice24h": last,
        "lowPrice24h": last,
        "turnover24h": "0",
        "volume24h": "0",
        "bid1Price": plain(row.bid.price) if row.bid else "",
        "bid1Size": plain(row.bid.quantity) if row.bid else "",
        "ask1Price": plain(row.ask.price) if row.ask else "",
        "ask1Size": plain(row.ask.quantity) if row.ask else "",
    }
    if row.predicted_rate is None or row.next_settlement_ns is None or row.interval_minutes is None:
        return common | {"usdIndexPrice": plain(row.usd_index)}
    interest = row.open_interest or Decimal(0)
    return common | {
        "indexPrice": plain(row.index),
        "markPrice": plain(row.mark),
        "prevPrice1h": last,
        "openInterest": plain(interest),
        "openInterestValue": plain(interest * row.mark),
        "fundingRate": plain(row.predicted_rate),
        "nextFundingTime": ms(row.next_settlement_ns),
        "fundingIntervalHour": plain(Decimal(row.interval_minutes) / 60),
        "fundingCap": "0.00375",
        "predictedDeliveryPrice": "",
        "basisRate": "",
        "basis": "",
        "deliveryFeeRate": "",
        "deliveryTime": "0",
        "preOpenPrice": "",
        "preQty": "",
        "curPreListingPhase": "",
    }


def pushed_ticker(one: Instrument, row: Ticker) -> Row:
    """A ticker of the public socket: spot has no bid and ask there."""
    full = ticker(one, row)
    if row.predicted_rate is not None:
        return full
    return {name: value for name, value in full.items() if not name.startswith(("bid1", "ask1"))}


def levels(side: Sequence[Level]) -> list[list[str]]:
    """One side of a book."""
    return [[plain(level.price), plain(level.quantity)] for level in side]


def candle(row: Candle) -> list[str]:
    """One candle; volume and turnover are not in the archive."""
    prices = (row.open, row.high, row.low, row.close)
    return [ms(row.start_ns), *(plain(price) for price in prices), "0", "0"]


def risk_limits(symbol: str, tiers: Sequence[PositionTier]) -> list[Row]:
    """Rows of risk-limit; the first tier's deduction is empty."""
    return [
        {
            "id": index + 1,
            "symbol": symbol,
            "riskLimitValue": plain(tier.notional_to),
            "maintenanceMargin": plain(tier.maintenance_rate),
            "initialMargin": plain(tier.initial_rate),
            "isLowestRisk": 1 if index == 0 else 0,
            "maxLeverage": plain(tier.leverage_max),
            "mmDeduction": plain(tier.deduction) if tier.deduction else "",
        }
        for index, tier in enumerate(tiers)
    ]


def collateral(table: CollateralTable) -> Row:
    """Tiered ratios of one coin."""
    return {
        "currency": table.coin,
        "collateralRatioList": [
            {
                "minQty": plain(tier.quantity_from),
                "maxQty": _text(tier.quantity_to),
                "collateralRatio": plain(tier.ratio),
            }
            for tier in table.tiers
        ],
    }


def borrow_tiers(table: BorrowTable) -> Row:
    """Margin tiers of borrowing one coin."""
    return {
        "currency": table.coin,
        "positionTiersRatioList": [
            {
                "tier": str(index + 1),
                "borrowLimit": _text(tier.quantity_to),
                "positionMMR": plain(tier.maintenance_rate),
                "positionIMR": plain(tier.initial_rate),
                "maxLeverage": plain(tier.leverage_max),
            }
            for index, tier in enumerate(table.tiers)
        ],
    }


def collateral_info(core: VenueCore, coin: Coin) -> Row:
    """Switch, borrow rate and limit of one coin."""
    tables = core.tables(0)
    table, loan = tables.collateral.get(coin), tables.borrow.get(coin)
    balance = next((row for row in core.coins() if row.balance.coin == coin), None)
    owed = balance.borrowed if balance else Decimal(0)
    most = loan.quantity_max if loan else None
    return {
        "currency": coin,
        "hourlyBorrowRate": plain(loan.hourly_rate) if loan else "",
        "maxBorrowingAmount": _text(most),
        "freeBorrowingLimit": "0",
        "freeBorrowAmount": "0",
        "freeBorrowingAmount": "",
        "borrowAmount": plain(owed),
        "otherBorrowAmount": "0",
        "availableToBorrow": "" if most is None else plain(max(Decimal(0), most - owed)),
        "borrowable": loan is not None and loan.borrowable,
        "borrowUsageRate": "0",
        "marginCollateral": table is not None,
        "collateralSwitch": table is not None and table.enabled,
        "collateralRatio": plain(table.tiers[0].ratio) if table and table.tiers else "0",
    }
