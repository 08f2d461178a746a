"""Commands of administrators: those that wait, and their execution."""
