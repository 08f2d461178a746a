"""The last minutes of a node, kept in memory for the status page."""
