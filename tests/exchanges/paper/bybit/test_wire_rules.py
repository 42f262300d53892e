"""Rules of the facade that need no socket: signatures, clock window, limits, faults, pages."""

import hashlib
import hmac
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exchanges.bybit.sign import ApiKey, rest_headers, socket_auth
from exchanges.fields import rows, text
from exchanges.paper.bybit.auth import check_login, check_request, check_window
from exchanges.paper.bybit.faults import FaultPlan
from exchanges.paper.bybit.limits import SECOND_NS, Limits
from exchanges.paper.bybit.paging import DAY_MS, by_window, page
from exchanges.paper.bybit.wire import Call, Refusal
from portfolio.core.errors import InputError

KEY = ApiKey("key", "secret")
NOW = 1_700_000_000_000


def signed(payload: bytes, *, at: int = NOW, window: int = 5000, key: ApiKey = KEY) -> dict[str, str]:
    made = rest_headers(key, timestamp_ms=at, recv_window_ms=window, payload=payload)
    return {name.lower(): value for name, value in made.items()}


def code(call: object) -> str:
    assert callable(call)
    with pytest.raises(Refusal) as caught:
        call()
    return caught.value.code


def test_what_the_adapter_signs_is_accepted() -> None:
    check_request(signed(b"a=b"), b"a=b", key="key", secret="secret", now_ms=NOW)


def test_a_query_may_be_signed_as_sent_or_decoded() -> None:
    wire = b"vipLevel=No%20VIP&cursor=1%3A2"
    for variant in (wire, b"vipLevel=No VIP&cursor=1:2"):
        check_request(signed(variant), wire, key="key", secret="secret", now_ms=NOW)


def test_an_empty_query_with_a_question_mark_is_signed_as_nothing() -> None:
    check_request(signed(b""), b"", key="key", secret="secret", now_ms=NOW)


def test_a_foreign_key_a_wrong_secret_and_changed_bytes_are_refused() -> None:
    def check(headers: dict[str, str], payload: bytes = b"a=b") -> str:
        return code(lambda: check_request(headers, payload, key="key", secret="secret", now_ms=NOW))

    assert check(signed(b"a=b", key=ApiKey("other", "secret"))) == "10003"
    assert check(signed(b"a=b", key=ApiKey("key", "guess"))) == "10004"
    assert check(signed(b"a=b"), b"a=c") == "10004"
    assert check({}) == "10003"


@pytest.mark.parametrize(
    ("offset", "accepted"),
    [(0, True), (-5000, True), (-5001, False), (999, True), (1000, False), (60_000, False)],
)
def test_a_stamp_counts_from_the_window_back_to_one_second_ahead(offset: int, accepted: bool) -> None:
    if accepted:
        check_window(str(NOW + offset), "5000", NOW)
    else:
        assert code(lambda: check_window(NOW + offset, None, NOW)) == "10002"


def test_a_wider_window_does_not_help_a_clock_that_is_ahead() -> None:
    assert code(lambda: check_window(NOW + 1500, "60000", NOW)) == "10002"


@pytest.mark.parametrize("expires", [NOW + 1, str(NOW + 10_000_000)], ids=["number", "text"])
def test_a_login_takes_its_expiry_as_number_or_text(expires: object) -> None:
    sign = hmac.new(b"secret", f"GET/realtime{expires}".encode(), hashlib.sha256).hexdigest()
    check_login(["key", expires, sign], key="key", secret="secret", now_ms=NOW)


def test_a_login_that_expired_or_is_not_signed_is_refused() -> None:
    def check(args: object) -> str:
        return code(lambda: check_login(args, key="key", secret="secret", now_ms=NOW))

    assert check(socket_auth(KEY, expires_ms=NOW - 1)["args"]) == "10004"
    assert check(["key", NOW + 1000, "00"]) == "10004"
    assert check(socket_auth(ApiKey("other", "secret"), expires_ms=NOW + 1)["args"]) == "10003"
    assert check("nothing") == "10001"


@given(st.lists(st.tuples(st.integers(0, 300), st.integers(1, 15)), max_size=40))
def test_no_second_ever_grants_more_than_the_limit(requests: list[tuple[int, int]]) -> None:
    limits, now = Limits(), 0
    granted: list[int] = []
    for pause_ms, count in requests:
        now += pause_ms * 1_000_000
        taken = limits.take("order/create-batch", "linear", count, now)
        granted.extend([now] * taken.granted)
        assert taken.remaining >= 0
        if taken.granted < count:
            assert taken.reset_ms * 1_000_000 > now
        window = [at for at in granted if at > now - SECOND_NS]
        assert len(window) <= taken.limit


def test_spot_and_linear_batches_and_single_orders_have_limits_of_their_own() -> None:
    limits = Limits()
    assert limits.take("order/create-batch", "linear", 10, 0).granted == 10
    assert limits.take("order/create-batch", "linear", 1, 0).granted == 0
    assert limits.take("order/create-batch", "spot", 20, 0).granted == 20
    assert limits.take("order/create", "linear", 1, 0).granted == 1
    assert limits.take("account/no-convert-repay", "", 2, 0).granted == 1


def test_a_fault_waits_for_its_turn_and_is_used_up() -> None:
    plan = FaultPlan()
    plan.add([{"on": "order/create", "effect": "lose_answer", "after": 1, "count": 2}])
    met = [plan.meet("order/create") is not None for _ in range(5)]
    assert met == [False, True, True, False, False]
    assert plan.meet("order/cancel") is None


@pytest.mark.parametrize(
    "row", [{"on": "x", "effect": "explode"}, {"on": "x"}, {"effect": "late", "when": 1}]
)
def test_a_fault_that_is_misspelt_is_an_error(row: dict[str, object]) -> None:
    with pytest.raises(InputError):
        FaultPlan().add([row])


@dataclass(frozen=True, slots=True)
class Timed:
    at_ns: int


def test_a_window_reaches_forward_from_a_start_and_back_from_an_end() -> None:
    found = [Timed(day * DAY_MS * 1_000_000) for day in range(1, 31)]
    now = 30 * DAY_MS * 1_000_000

    def days(**values: object) -> list[int]:
        window = by_window(found, Call(values), now, default_days=7)
        return [one.at_ns // DAY_MS // 1_000_000 for one in window]

    assert days() == list(range(30, 22, -1))
    assert days(startTime=str(3 * DAY_MS)) == list(range(10, 2, -1))
    assert days(endTime=str(9 * DAY_MS)) == list(range(9, 1, -1))
    assert code(lambda: days(startTime="0", endTime=str(8 * DAY_MS))) == "10001"


@given(st.integers(0, 60), st.integers(1, 50))
def test_pages_by_cursor_give_every_row_once(count: int, limit: int) -> None:
    everything: list[dict[str, object]] = [{"n": number} for number in range(count)]
    seen: list[object] = []
    cursor = ""
    for _ in range(count + 1):
        call = Call({"limit": str(limit), **({"cursor": cursor} if cursor else {})})
        answer = page(everything, call, limit=20, most=50).result
        seen.extend(row["n"] for row in rows(answer, "list"))
        cursor = text(answer, "nextPageCursor")
        if not cursor:
            break
    assert seen == list(range(count))


@pytest.mark.parametrize("number", ["\u00b2", "--1", "9" * 5000, "\uff11", "1_0"])
def test_a_number_that_is_none_is_refused_wherever_one_is_read(number: str) -> None:
    assert code(lambda: check_window(number, 5000, NOW)) == "10001"
    assert code(lambda: check_window(NOW, number, NOW)) == "10001"
    assert (
        code(lambda: check_login(["key", number, "sign"], key="key", secret="secret", now_ms=NOW)) == "10004"
    )
    assert code(lambda: Call({"limit": number}).integer("limit", 1)) == "10001"
    assert code(lambda: page([], Call({"cursor": f"page:{number}"}), limit=1, most=1)) == "10001"


@pytest.mark.parametrize("number", ["1e-999999999", "0e999999999", "1_0", "\uff11", "nan"])
def test_a_decimal_that_is_none_is_refused(number: str) -> None:
    assert code(lambda: Call({"qty": number}).number("qty")) == "10001"
