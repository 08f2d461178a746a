"""What one node says of itself, status and facts together: the JSON of `/status`, written and read.

Page, shell and other nodes all see these values. Reading is forgiving towards other versions of kraft (what
is unknown is skipped, what has a default may be missing) and strict about types: nobody behind this module
meets anything but what the classes say.
"""

from dataclasses import dataclass

import msgspec

from kraft.node.status import Status
from kraft.telemetry.recent.facts import Facts


@dataclass(frozen=True, slots=True)
class Report:
    """One node at one moment, by its own word."""

    status: Status
    facts: Facts


class NotAReport(Exception):
    """What was read is no answer of a kraft node."""


def encode(report: Report, *, pretty: bool) -> bytes:
    """One JSON object; without a history that is not there."""
    values = msgspec.to_builtins(report.status) | msgspec.to_builtins(report.facts)
    if values["history"] is None:
        del values["history"]
    body = msgspec.json.encode(values)
    return msgspec.json.format(body, indent=2) + b"\n" if pretty else body


def decode(body: bytes) -> Report:
    """The reverse, of bytes from anywhere. Raises NotAReport."""
    try:
        return Report(_STATUS.decode(body), _FACTS.decode(body))
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise NotAReport(str(error)) from None


_STATUS = msgspec.json.Decoder(Status)
_FACTS = msgspec.json.Decoder(Facts)
