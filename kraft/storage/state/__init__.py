"""State files: the durable copy of one group's keys at one index of its log."""
