"""What is wrong with rules of a user."""


class RuleError(Exception):
    """A rule that cannot be applied; the argument is the reason, in the words of Redis."""
