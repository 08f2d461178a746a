"""Exceptions of consensus: refusals, of which the host informs its client, and a broken invariant."""


class NotLeading(Exception):
    """Nothing was begun: this replica does not lead. The argument is the leader's id, "" if unknown."""


class LogFull(Exception):
    """Nothing was proposed: what is not applied here has reached its bound, in bytes (the argument)."""


class ChangeRefused(Exception):
    """Nothing was proposed: the configuration cannot change so, or not now. The argument says why."""


class TransferRefused(Exception):
    """Leadership stays here: it cannot go to that node. The argument says why."""


class InvariantViolation(Exception):
    """The group is in a state that consensus excludes. It must stop, lest it break a promise."""


def invariant(condition: bool, reason: str) -> None:
    """Raise `InvariantViolation` unless `condition` holds; unlike `assert` it cannot be switched off."""
    if not condition:
        raise InvariantViolation(reason)
