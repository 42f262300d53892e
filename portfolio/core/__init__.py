"""The pure core: values and rules. No clock, no I/O, no randomness, no logging."""
