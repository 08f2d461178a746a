"""Configurations, their quorums, and how one configuration becomes another."""
