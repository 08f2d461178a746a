"""The error of a check."""


class Violation(AssertionError):
    """A safety property does not hold."""


def demand(condition: bool, what: str) -> None:
    """Raise `Violation` with the text `what` unless `condition` is true."""
    if not condition:
        raise Violation(what)
