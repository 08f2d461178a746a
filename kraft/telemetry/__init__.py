"""Metrics and logs: turns the reports of other packages into numbers and log lines."""
