"""log.db: entries, hard state and identity; the writer thread; what is verified at a start."""
