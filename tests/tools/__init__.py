"""Tests of what agents can call."""
