"""Return codes of Bybit v5 by what they prove. Source: docs/v5/error and order pages (read 2026-07-24).

A write counts as rejected only when its code is on the allow-list below: codes with which the venue says that
it decided against the request. Every other code, listed elsewhere or new, leaves the effect unknown.
"""

from portfolio.core.errors import Effect

OK = "0"

#: Refused before anything was looked at: signature, key, clock, permission, address, route, parameters.
_REFUSED_AT_THE_DOOR = (
    "10001 10002 10003 10004 10005 10007 10008 10009 10010 10017 10024 10027 10028 10029 10404 110132"
)
#: Refused by a rule about price, size, symbol, position or money (derivatives).
_REFUSED_LINEAR = (
    "110003 110004 110006 110007 110009 110012 110013 110017 110020 110021 110023 110044 110045 "
    "110051 110052 110053 110086 110089 110090 110094 110118 110120 110121 110131 30208 30209 "
    "30228 30256"
)
#: The same for spot and borrowing.
_REFUSED_SPOT = (
    "170033 170034 170036 170037 170124 170131 170132 170133 170134 170136 170137 170140 "
    "170148 170192 170193 170194 170207 170222 170226 170313 170341 170344 170371 170372 170381 "
    "170382 170810 176008 176009 176015 176016 176017 182011 182101 182102 182104 182106 182120 "
    "3200641 34022030 34022031 34022035 34022036 34022041 34022048 34022050"
)
#: The order to cancel is already over (or never was): the cancel itself certainly did nothing.
_NOTHING_TO_CANCEL = "110001 110008 110010 170139 170142 170143 170190 170213"
#: Nothing changed because it already was so.
UNCHANGED = frozenset({"110025", "110026", "110027", "110043", "34040"})
#: An order with this id exists already: what became of it must be looked up, so these are never "rejected".
DUPLICATE = frozenset({"110072", "170141", "10014"})
#: The item of a batch was over the limit; the venue placed the items before it.
RATE_LIMITED = "10006"

REJECTED = frozenset(
    " ".join((_REFUSED_AT_THE_DOOR, _REFUSED_LINEAR, _REFUSED_SPOT, _NOTHING_TO_CANCEL)).split()
)
NOT_FOUND = frozenset(_NOTHING_TO_CANCEL.split())
#: Our clock is off: synchronise, then the same request may be sent again.
CLOCK = "10002"


def effect_of(code: str) -> Effect:
    """What the code of a whole request proves."""
    return Effect.REJECTED if code in REJECTED else Effect.UNKNOWN


def effect_of_item(code: str) -> Effect:
    """What the code of one batch item proves: there the rate limit is a decision about that item alone."""
    return Effect.REJECTED if code == RATE_LIMITED else effect_of(code)
