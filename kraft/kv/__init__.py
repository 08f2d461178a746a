"""The replicated state machine: a stamp and commands go in, replies come out. Knows no clock, log, client."""
