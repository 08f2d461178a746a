"""What the core raises: two refusals for its host, and the end of a group whose invariant broke."""


class NotLeading(Exception):
    """Nothing was proposed or asked: this replica does not lead. The argument is the leader's id or ''."""


class LogFull(Exception):
    """Nothing was proposed: the uncommitted log has reached its bound in bytes (the argument)."""


class InvariantViolation(Exception):
    """A state that consensus excludes. The group must stop: going on could break what was promised."""


def invariant(condition: bool, reason: str) -> None:
    """Raise `InvariantViolation` unless `condition` holds; unlike `assert` it cannot be switched off."""
    if not condition:
        raise InvariantViolation(reason)
