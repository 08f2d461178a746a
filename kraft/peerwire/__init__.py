"""The peer wire: what two nodes send each other, as values and as bytes. Sans-I/O."""
