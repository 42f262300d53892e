"""The guard's rules: pure functions from what is known now to what must be done. See `arbiter.decide`."""
