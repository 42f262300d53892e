"""The engine: a pure core, the ports it needs and the shell around it."""
