"""The peer wire: what travels between two nodes, as bytes and values. Sans-I/O."""
