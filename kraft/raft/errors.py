"""What the core raises: refusals for its host, and the end of a group whose invariant broke."""


class NotLeading(Exception):
    """Nothing was proposed or asked: this replica does not lead. The argument is the leader's id or ''."""


class LogFull(Exception):
    """Nothing was proposed: the uncommitted log has reached its bound in bytes (the argument)."""


class ChangeRefused(Exception):
    """Nothing was proposed: the configuration cannot be changed now. The argument says why, for people."""


class TransferRefused(Exception):
    """Leadership stays here: it cannot go to that node. The argument says why, for people."""


class InvariantViolation(Exception):
    """A state that consensus excludes. The group must stop: going on could break what was promised."""


def invariant(condition: bool, reason: str) -> None:
    """Raise `InvariantViolation` unless `condition` holds; unlike `assert` it cannot be switched off."""
    if not condition:
        raise InvariantViolation(reason)
