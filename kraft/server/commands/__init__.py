"""The command table and the functions of its commands."""
