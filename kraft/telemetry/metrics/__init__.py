"""Metrics: their declarations, their values, and the registry that exports them."""
