"""kraft: a replicated key-value server. Raft, the Redis wire protocol, SQLite, Twisted."""

__version__ = "0.1.0"
