"""Moves of slots between the groups of a node."""
