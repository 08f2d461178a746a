"""Metrics: their declarations, the values, and the registry that exports them."""
