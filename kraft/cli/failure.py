"""The failures of a subcommand."""


class Failure(Exception):
    """Ends a subcommand with the exit status `status`; the argument is the line for standard error."""

    status = 1


class InterruptFailure(Failure):
    """Ctrl-C has ended the waiting of a command, not what it waits for. The argument says how to see that."""

    status = 130


class WrongUsage(Exception):
    """The words of the command make no sense: exit status 2. The argument says what would be right."""
