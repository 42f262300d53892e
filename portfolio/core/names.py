"""Identifiers. Plain strings with a type each, so that a checker sees one used for another.

Forms: instrument id `bybit:linear:BTCUSDT`, `bybit:spot:BTCUSDT`; account id `bybit:main`; pair id
`SOL@bybit` (long spot, short perpetual) or `SOL@bybit:reverse` (short spot, long perpetual).
"""

from typing import NewType

Venue = NewType("Venue", str)
AccountId = NewType("AccountId", str)
InstrumentId = NewType("InstrumentId", str)
Coin = NewType("Coin", str)
PairId = NewType("PairId", str)
Narrative = NewType("Narrative", str)
IntentId = NewType("IntentId", str)
#: Ours: <= 32 of [A-Za-z0-9], unique per account for ever.
ClientOrderId = NewType("ClientOrderId", str)
#: The venue's own.
VenueOrderId = NewType("VenueOrderId", str)
