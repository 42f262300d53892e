"""Bybit v5, unified trading account 2.0: spot with margin borrowing and USDT linear perpetuals."""
