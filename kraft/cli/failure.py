"""The failure of a subcommand."""


class Failure(Exception):
    """Ends a subcommand with exit status 1; the argument is the line for standard error."""
