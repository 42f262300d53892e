"""Margin rules per account mode and the what-if over them."""
