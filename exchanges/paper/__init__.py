"""The embedded paper venues: a sans-I/O core that replays history, and a wire facade per venue around it."""
