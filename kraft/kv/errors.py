"""Why a state machine stops: what it is given cannot be applied here."""


class BrokenInvariant(Exception):
    """What was applied cannot have come from a correct leader: the group must stop."""


class UnknownCommand(Exception):
    """The bytes are no batch that this program knows; the argument says why. It may be of a newer program."""


class UnsupportedVersion(Exception):
    """The version in force is one that this program does not support, says the argument: stop the group."""
