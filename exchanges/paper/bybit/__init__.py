"""Bybit v5 on loopback around a paper venue: REST, public, private and trade websockets, signatures, limits.

Times of business objects and of pushed frames are market time; the envelope, the server-time endpoint,
signatures and rate limits are wire time. On the real venue the two are one.
"""
