"""Administrators' commands: how they wait, where they go, and how they are carried out."""
