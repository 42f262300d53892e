"""The OKX margin sheet a second time: slow, naive, in fractions, line by line from the text.

Written from the reference sheet (5.1, 5.2, 2.8) and the assumptions that the rules state: rows of plain
numbers, every figure asked for by name and worked out from the rows again, nothing carried along.
"""

from fractions import Fraction
from itertools import product
from typing import Any

from portfolio.core.margin.state import MarginState

F = Fraction
ZERO = F(0)


class Sheet:
    """One account, asked figure by figure."""

    def __init__(self, state: MarginState, *, use_policy: bool = False) -> None:
        instruments = state.instruments
        self.policy, self.use_policy = state.policy, use_policy
        self.tables: Any = state.tables
        self.venue: Any = state.tables.venue
        self.usd: dict[str, Fraction] = {coin: F(price) for coin, price in state.prices.usd.items()}
        self.mark: dict[str, Fraction] = {key: F(price) for key, price in state.prices.marks.items()}
        self.balances: dict[str, Any] = {row.coin: row for row in state.balances}
        self.positions: list[dict[str, Any]] = [
            {
                "id": row.instrument_id,
                "base": instruments[row.instrument_id].base,
                "settle": instruments[row.instrument_id].quote,
                "q": F(row.quantity),
                "entry": F(row.entry_price),
                "lever": F(row.leverage),
            }
            for row in state.positions
            if row.quantity
        ]
        self.orders: list[dict[str, Any]] = [
            {
                "id": row.instrument_id,
                "swap": instruments[row.instrument_id].kind.value == "linear",
                "base": instruments[row.instrument_id].base,
                "quote": instruments[row.instrument_id].quote,
                "sign": 1 if row.side.value == "buy" else -1,
                "q": F(row.quantity),
                "px": F(row.limit_price),
                "opens": not row.reduce_only,
            }
            for row in state.orders
        ]

    # --- equity ------------------------------------------------------------------------------------------

    def coins(self) -> set[str]:
        held = {
            coin
            for coin, row in self.balances.items()
            if row.wallet or row.spot_borrow or row.accrued_interest or row.locked
        }
        settled = {row["settle"] for row in self.positions}
        settled |= {row["quote"] for row in self.orders if row["swap"] and row["opens"] and row["q"]}
        return (
            held | settled | {coin for row in self.orders if not row["swap"] for coin in [self.gives(row)[0]]}
        )

    def eq(self, coin: str) -> Fraction:
        """cash balance + floating PnL - accrued interest"""
        row = self.balances.get(coin)
        cash = ZERO if row is None else F(row.wallet) - F(row.spot_borrow) - F(row.accrued_interest)
        for position in self.positions:
            if position["settle"] == coin:
                cash += position["q"] * (self.mark[position["id"]] - position["entry"])
        return cash

    def disc_eq(self, coin: str, amount: Fraction) -> Fraction:
        """Tiers of a positive amount, the full value of a negative one."""
        if amount <= 0:
            return amount * self.usd[coin]
        table = self.tables.collateral.get(coin)
        if table is None or not table.enabled:
            return ZERO
        counted = ZERO
        for tier in table.tiers:
            top = amount if tier.quantity_to is None else min(amount, F(tier.quantity_to))
            counted += max(ZERO, top - F(tier.quantity_from)) * F(tier.ratio)
        return counted * self.usd[coin]

    def total_eq(self) -> Fraction:
        return sum((self.eq(coin) * self.usd[coin] for coin in self.coins()), ZERO)

    def adj_eq(self) -> Fraction:
        discounted = sum((self.disc_eq(coin, self.eq(coin)) for coin in self.coins()), ZERO)
        return discounted - self.in_flight_loss() - self.estimated_fees()

    @staticmethod
    def gives(order: dict[str, Any]) -> tuple[str, Fraction]:
        if order["sign"] > 0:
            return order["quote"], order["q"] * order["px"]
        return order["base"], order["q"]

    @staticmethod
    def takes(order: dict[str, Any]) -> tuple[str, Fraction]:
        if order["sign"] > 0:
            return order["base"], order["q"]
        return order["quote"], order["q"] * order["px"]

    def all_given(self, coin: str) -> Fraction:
        return sum(
            (self.gives(row)[1] for row in self.orders if not row["swap"] and self.gives(row)[0] == coin),
            ZERO,
        )

    def all_taken(self, coin: str) -> Fraction:
        return sum(
            (self.takes(row)[1] for row in self.orders if not row["swap"] and self.takes(row)[0] == coin),
            ZERO,
        )

    def in_flight_loss(self) -> Fraction:
        loss = ZERO
        for row in self.orders:
            if not row["swap"]:
                (out, given), (into, taken) = self.gives(row), self.takes(row)
                bottom = self.eq(out) - self.all_given(out)
                top = self.eq(into) + self.all_taken(into)
                lost = self.disc_eq(out, bottom + given) - self.disc_eq(out, bottom)
                won = self.disc_eq(into, top) - self.disc_eq(into, top - taken)
                loss += max(ZERO, lost - won)
        return loss

    def estimated_fees(self) -> Fraction:
        return sum(
            (
                row["q"]
                * row["px"]
                * max(ZERO, F(self.tables.fees[row["id"]].taker))
                * self.usd[row["quote"]]
                for row in self.orders
            ),
            ZERO,
        )

    # --- borrowing ---------------------------------------------------------------------------------------

    def liab(self, coin: str) -> Fraction:
        return abs(min(ZERO, self.eq(coin)))

    def borrow_rates(self, coin: str, amount: Fraction) -> Any:
        return next(
            row
            for row in self.tables.borrow[coin].tiers
            if row.quantity_to is None or amount <= F(row.quantity_to)
        )

    def pending(self, coin: str) -> Fraction:
        row = self.balances.get(coin)
        return max(self.all_given(coin), ZERO if row is None else F(row.locked))

    def borrow_imr(self, coin: str) -> Fraction:
        needed = max(ZERO, self.pending(coin) - self.eq(coin))
        if not needed:
            return ZERO
        row = self.borrow_rates(coin, needed)
        wanted = F(self.policy.borrow)
        if coin in self.venue.borrow_leverage and not self.use_policy:
            wanted = F(self.venue.borrow_leverage[coin])
        rate = max(F(row.initial_rate), 1 / wanted, 1 / F(row.leverage_max))
        return needed * self.usd[coin] * rate

    def borrow_mmr(self, coin: str) -> Fraction:
        owed = self.liab(coin)
        return owed * self.usd[coin] * F(self.borrow_rates(coin, owed).maintenance_rate) if owed else ZERO

    def liability_fee(self, coin: str) -> Fraction:
        """liability x (1 + MMR rate) x spot taker fee"""
        owed = self.liab(coin) * self.usd[coin]
        return (owed + self.borrow_mmr(coin)) * F(self.venue.spot_taker_fee)

    def everywhere(self, figure: Any) -> Fraction:
        return sum((figure(coin) for coin in self.coins()), ZERO)

    # --- multi-currency ----------------------------------------------------------------------------------

    def swaps(self) -> set[str]:
        opening = {row["id"] for row in self.orders if row["swap"] and row["opens"] and row["q"]}
        return opening | {row["id"] for row in self.positions}

    def swap_orders(self, key: str) -> list[dict[str, Any]]:
        return [row for row in self.orders if row["id"] == key and row["swap"] and row["opens"]]

    def size(self, key: str) -> Fraction:
        return sum((row["q"] for row in self.positions if row["id"] == key), ZERO)

    def multi(self) -> dict[str, Fraction]:
        imr = self.everywhere(self.borrow_imr)
        mmr = self.everywhere(self.borrow_mmr)
        fees = self.everywhere(self.liability_fee)
        for key in self.swaps():
            orders = self.swap_orders(key)
            whole = abs(self.size(key)) + sum((row["q"] for row in orders), ZERO)
            rows = self.tables.positions[key]
            tier = next(row for row in rows if whole <= F(row.quantity_to))
            lever = F(self.policy.perpetual)
            settle = next((row["settle"] for row in self.positions if row["id"] == key), None)
            for row in self.positions:
                if row["id"] == key and not self.use_policy:
                    lever = row["lever"]
            settle = settle or orders[0]["quote"]
            rate = max(F(tier.initial_rate), 1 / lever, 1 / F(tier.leverage_max))
            at_mark = abs(self.size(key)) * self.mark[key] * self.usd[settle] if self.size(key) else ZERO
            at_limit = sum((row["q"] * row["px"] for row in orders), ZERO) * self.usd[settle]
            imr += (at_mark + at_limit) * rate
            mmr += (at_mark + at_limit) * F(tier.maintenance_rate)
            fees += at_mark * max(ZERO, F(self.tables.fees[key].taker))
        return self.answer(imr, mmr, fees)

    def answer(self, imr: Fraction, mmr: Fraction, fees: Fraction) -> dict[str, Fraction]:
        return {
            "total_equity": self.total_eq(),
            "adjusted_equity": self.adj_eq(),
            "initial_margin": imr,
            "maintenance_margin": mmr + fees,
            "liquidation_fees": fees,
        }

    # --- portfolio margin --------------------------------------------------------------------------------

    def portfolio(self) -> dict[str, Fraction]:
        units = sum((self.unit_mmr(base) for base in self.bases()), ZERO)
        fees = self.everywhere(self.liability_fee)
        return self.answer(
            F(13, 10) * units + self.everywhere(self.borrow_imr),
            units + self.everywhere(self.borrow_mmr),
            fees,
        )

    def bases(self) -> set[str]:
        found = {row["base"] for row in self.positions}
        return found | {row["base"] for row in self.orders if row["swap"] and row["opens"] and row["q"]}

    def members(self, base: str) -> list[dict[str, Any]]:
        """(swap, settlement coin, size now, with all buys, with all sells)"""
        found: dict[str, str] = {}
        for row in self.positions:
            if row["base"] == base:
                found[row["id"]] = row["settle"]
        for row in self.orders:
            if row["base"] == base and row["swap"] and row["opens"] and row["q"]:
                found[row["id"]] = row["quote"]
        return [
            {
                "id": key,
                "settle": settle,
                "now": self.size(key),
                "bought": self.size(key)
                + sum((r["q"] for r in self.swap_orders(key) if r["sign"] > 0), ZERO),
                "sold": self.size(key) - sum((r["q"] for r in self.swap_orders(key) if r["sign"] < 0), ZERO),
                "worth": self.mark[key] * self.usd[settle],
            }
            for key, settle in found.items()
        ]

    def offset(self, base: str, contracts: Fraction) -> Fraction:
        """min(eligible equity, offsetting derivatives, cap)"""
        spot = max(ZERO, self.eq(base) - self.pending(base))
        cap = self.venue.spot_in_use_max.get(base)
        return min(spot, max(ZERO, -contracts), spot if cap is None else F(cap))

    def unit_mmr(self, base: str) -> Fraction:
        unit = self.venue.units[base]
        members = self.members(base)
        mr1 = mr6 = ZERO
        for when in ("now", "bought", "sold"):
            net = sum((row[when] for row in members), ZERO)
            value = (net + self.offset(base, net)) * self.usd[base]
            for move in unit.shocks:
                mr1 = max(mr1, -value * F(move))
            for move in (F(unit.extreme), -F(unit.extreme)):
                mr6 = max(mr6, -value * move * F(unit.extreme_share))
        deltas = sum((max(abs(row["bought"]), abs(row["sold"])) * row["worth"] for row in members), ZERO)
        mr4 = deltas * F(unit.basis_rate)
        mr7 = deltas * F(unit.reduction_rate) * self.step(unit.reduction_tiers, deltas)
        hedged = self.hedged(members)
        mr9 = hedged * self.step(self.venue.hedge_tiers, hedged) if hedged else ZERO
        return max(max(mr1, mr6) + mr4, mr7) + mr9

    @staticmethod
    def step(tiers: Any, usd: Fraction) -> Fraction:
        fitting = [row for row in tiers if row.usd_to is None or F(row.usd_to) >= usd]
        return F((fitting or [tiers[-1]])[0].factor)

    @staticmethod
    def hedged(members: list[dict[str, Any]]) -> Fraction:
        settles = sorted({row["settle"] for row in members})
        best = ZERO
        for sides in product(("bought", "sold"), repeat=len(settles)):
            long = short = ZERO
            for settle, side in zip(settles, sides, strict=True):
                total = sum((row[side] * row["worth"] for row in members if row["settle"] == settle), ZERO)
                if side == "bought":
                    long += max(ZERO, total)
                else:
                    short += max(ZERO, -total)
            best = max(best, min(long, short))
        return best
