"""The failures of a subcommand."""


class Failure(Exception):
    """Ends a subcommand with exit status 1; the argument is the line for standard error."""


class WrongUsage(Exception):
    """The words of the command make no sense: exit status 2. The argument says what would be right."""
