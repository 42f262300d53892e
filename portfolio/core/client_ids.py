"""Client order ids that survive a restart because they are functions of what they name.

The same slice of the same operation gets the same id in every process and for ever, so a repeated send is
refused by the journal and by the venue instead of becoming a second order. Base32 and not base62: a venue
that compares ids without regard to case must not see two of ours as one.
"""

import base64
import hashlib

from portfolio.core.errors import InputError
from portfolio.core.names import ClientOrderId, InstrumentId, IntentId

#: Every id of ours starts so; a venue's own numbers and foreign orders do not.
PREFIX = "cd"
LENGTH = 32
#: 30 characters of 5 bits: 150 bits, a collision in 10**12 orders has odds below 10**-21.
_DIGEST_CHARACTERS = LENGTH - len(PREFIX)


def client_order_id(
    intent_id: IntentId, instrument_id: InstrumentId, slice_no: int, attempt: int
) -> ClientOrderId:
    """The id of one attempt to send one slice of one leg of an operation: 32 of [a-z2-7].

    Raises:
        InputError: a name is empty, or a number is negative.
    """
    if not intent_id or not instrument_id:
        raise InputError("An order needs an operation and an instrument.", field="client_order_id")
    if slice_no < 0 or attempt < 0:
        raise InputError(
            f"slice {slice_no}, attempt {attempt}: must not be negative.",
            field="client_order_id",
            allowed=">= 0",
        )
    # The lengths keep two different divisions of one text apart.
    content = f"{len(intent_id)}:{intent_id}:{len(instrument_id)}:{instrument_id}:{slice_no}:{attempt}"
    digest = hashlib.sha256(content.encode()).digest()
    text = base64.b32encode(digest).decode().lower()
    return ClientOrderId(PREFIX + text[:_DIGEST_CHARACTERS])
