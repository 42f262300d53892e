"""The production desk under a virtual clock against the in-memory venue, with seeded faults."""
