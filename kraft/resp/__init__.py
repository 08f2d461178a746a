"""The client protocol as bytes: RESP2, RESP3 and inline text in, replies out. Knows no command, no socket."""
