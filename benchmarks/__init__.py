"""Benchmarks of Carrydesk: `make bench`, or `python -m benchmarks --only NAME`.

Each module measures one thing and returns a mapping: plain facts, and spreads that say how many samples they
have. Inputs are made from seeds; ratios come from one run. The machine's own noise is measured beside them.
"""
