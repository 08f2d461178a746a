"""The last minutes and events, kept in memory for the status page."""
