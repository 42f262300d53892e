"""Tests of the shape of the project: import contracts, names, sizes, release notes."""
