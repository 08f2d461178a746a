"""Reads and writes of clients on one group, on the leader and on followers."""
