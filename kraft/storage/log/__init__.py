"""log.db: entries, hard state, identity, and what a start verifies."""
