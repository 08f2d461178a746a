"""The replicated state machine: commands and a stamp go in, replies come out. No clock, no log."""
