"""The one way a command says that it cannot go on."""


class Failure(Exception):
    """Ends a command with exit status 1; the argument is the line for standard error."""
