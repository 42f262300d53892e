"""What every answer of the facade is made of: calls, answers, refusals, numbers and times as text."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import ROUND_DOWN, Decimal

from portfolio.core.decimals import parse, parse_integer, plain
from portfolio.core.errors import NumberError
from portfolio.core.instrument import InstrumentKind, instrument_id
from portfolio.core.names import InstrumentId, Venue

BYBIT = Venue("bybit")
MS_NS = 1_000_000
Row = dict[str, object]

__all__ = ["BYBIT", "MS_NS", "Answer", "Call", "Refusal", "Row", "kind_of", "ms", "plain", "rate"]


class Refusal(Exception):
    """The venue says no: a return code, and the HTTP status where it is not 200."""

    def __init__(self, code: str, message: str, status: int = 200) -> None:
        super().__init__(f"{code} {message}")
        self.code = code
        self.message = message
        self.status = status


@dataclass(frozen=True, slots=True)
class Answer:
    """A `result` with its `retExtInfo`; a few pages of the venue send the latter as the text "{}"."""

    result: Mapping[str, object]
    extra: Mapping[str, object] | str = field(default_factory=dict)
    message: str = "OK"
    code: str = "0"


@dataclass(frozen=True, slots=True)
class Call:
    """The parameters of one request: query texts of a GET, JSON values of a POST or a trade frame."""

    values: Mapping[str, object]
    #: Batch items that the rate limit still allows; None outside batches.
    allowed: int | None = None

    def text(self, name: str, default: str | None = None) -> str:
        """A parameter as text; required without a default."""
        value = self.values.get(name)
        if value is None or value == "":
            if default is None:
                raise Refusal("10001", f"params error: {name} is required")
            return default
        if isinstance(value, bool | list | dict):
            raise Refusal("10001", f"params error: {name} is invalid")
        return str(value)

    def number(self, name: str) -> Decimal:
        """A required decimal."""
        value = self.number_or_none(name)
        if value is None:
            raise Refusal("10001", f"params error: {name} is required")
        return value

    def number_or_none(self, name: str) -> Decimal | None:
        """A decimal that may be left out."""
        value = self.values.get(name)
        if value is None or value == "":
            return None
        try:
            return parse(str(value), name)
        except NumberError:
            raise Refusal("10001", f"params error: {name} is invalid") from None

    def integer(self, name: str, default: int) -> int:
        """A whole number."""
        value = self.text(name, str(default))
        try:
            return parse_integer(value, name)
        except NumberError:
            raise Refusal("10001", f"params error: {name} is invalid") from None

    def flag(self, name: str) -> bool:
        """A boolean or 0/1; absent is false."""
        return self.values.get(name) in (True, 1, "1", "true")

    def kind(self) -> InstrumentKind:
        """The category, which must be one that is listed here."""
        return kind_of(self.text("category"))

    def instrument(self) -> InstrumentId:
        """Category and symbol."""
        return instrument_id(BYBIT, self.kind(), self.text("symbol"))

    def items(self) -> list["Call"]:
        """The items of a batch, each with the batch's category."""
        found = self.values.get("request")
        if not isinstance(found, list) or not found or not all(isinstance(item, dict) for item in found):
            raise Refusal("10001", "params error: request is required")
        return [Call({**item, "category": self.text("category")}) for item in found]


def kind_of(category: str) -> InstrumentKind:
    """The kind of a category word."""
    if category not in ("spot", "linear"):
        raise Refusal("10001", f"params error: category {category} is not supported here")
    return InstrumentKind(category)


def ms(at_ns: int) -> str:
    """A time of a business object: ms as text."""
    return str(at_ns // MS_NS)


def rate(value: Decimal) -> str:
    """A ratio as the venue prints it: cut to four places, zeros stripped."""
    return plain(value.quantize(Decimal("0.0001"), rounding=ROUND_DOWN))
