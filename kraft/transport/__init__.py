"""Links between nodes on Twisted: one connection per pair, handshake, bounded queues, reconnects."""
