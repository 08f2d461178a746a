"""Transactions over several groups: their coordinator, their recovery, and reads over groups."""
