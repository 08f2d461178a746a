"""Links between nodes on Twisted: one connection per pair, with handshake, bounded queues and reconnects."""
