"""What the desk finds out about its settings and its home when it starts, without the venue."""

import logging
from collections.abc import Collection, Sequence

from portfolio.core.entries import TokenAdded
from portfolio.core.errors import SettingsError
from portfolio.core.names import Coin
from portfolio.desk import free_name
from portfolio.ports import TokenRow
from portfolio.service import Scope
from server.home import Home, read_token, token_hash
from server.settings import BUNDLED_COINS

logger = logging.getLogger(__name__)

_AGENT = "agent"
_AGENT_SCOPES = tuple(scope.value for scope in Scope)


def home_token(home: Home, tokens: Sequence[TokenRow]) -> TokenAdded | None:
    """`first_token` for the file of the home.

    A file that cannot be taken, such as one that others may read, makes no token: the desk comes up without,
    because its guard must. `carrydesk serve` refuses such a file when it starts everything.
    """
    if not home.token_file.exists():
        return None
    try:
        token = read_token(home)
    except SettingsError as error:
        logger.warning("agent.token adds no token: %s %s", error.message, error.next_step)
        return None
    return first_token(token_hash(token), tokens)


def first_token(token_hash: str, tokens: Sequence[TokenRow]) -> TokenAdded | None:
    """The entry that makes the home's token open something; None when it does, or was revoked.

    A file that was lost and made anew by `carrydesk init`, or that came from another home, gets a name that
    is free. The token issued before stays valid until the operator revokes it: others may hold it.
    """
    same = next((row for row in tokens if row.token_hash == token_hash), None)
    if same is not None:
        if same.revoked:  # a restart must not undo what the operator decided
            logger.warning("agent.token is the revoked token %s: `carrydesk stdio` opens nothing", same.name)
        return None
    name = free_name(_AGENT, {row.name for row in tokens})
    if name != _AGENT:
        logger.warning("agent.token is new and is now the token %s; revoke the ones you lost", name)
    return TokenAdded(name, token_hash, _AGENT_SCOPES)


def missing_coins(wanted: Collection[Coin], found: Collection[Coin], held: Collection[Coin]) -> list[Coin]:
    """Coins that the operator wrote and the venue cannot trade as a pair, in alphabetical order.

    The default list is an offer: what a venue lacks of it is left out. A coin of the book that is listed no
    more is said in the log only: without a desk nobody would guard the rest of the book.
    """
    absent = sorted(set(wanted) - set(found))
    if not absent:
        return []
    delisted = sorted(set(absent) & set(held))
    if delisted:
        logger.error("the book holds %s, which the venue lists no more", ", ".join(delisted))
    if set(wanted) == set(BUNDLED_COINS):
        logger.warning("not listed by this venue and left out: %s", ", ".join(absent))
        return []
    return [coin for coin in absent if coin not in held]


def unlisted(missing: Sequence[Coin], listed: Collection[Coin]) -> SettingsError:
    """The refusal that names the coins and what the venue lists instead."""
    names = ", ".join(missing)
    there = ", ".join(sorted(listed))
    verb = "is" if len(missing) == 1 else "are"
    return SettingsError(
        f"coins: {names} {verb} not listed by the venue with both a spot pair and a perpetual.",
        field="coins",
        allowed=there,
        next_step=f"Take {names} out of coins in carrydesk.toml. The venue lists: {there}.",
    )
