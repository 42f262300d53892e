"""The venues: adapters, their shared shells, the embedded paper venues and bundled history."""
