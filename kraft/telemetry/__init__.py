"""Metrics and logs: what other packages tell through their observer protocols becomes a number or a line."""
