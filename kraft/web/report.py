"""The report of one node, status and facts together: encoding and decoding of the JSON of `/status`.

The page, the shell and other nodes all use it. Decoding accepts other versions of kraft (unknown fields are
skipped, fields with a default may be missing) and checks types strictly, so that all values are as declared.
"""

from dataclasses import dataclass

import msgspec

from kraft.node.status import Status
from kraft.telemetry.recent.facts import Facts


@dataclass(frozen=True, slots=True)
class Report:
    """The state of one node at one moment."""

    status: Status
    facts: Facts


class NotAReport(Exception):
    """The data is not the report of a kraft node."""


def encode(report: Report, *, pretty: bool) -> bytes:
    """The report as one JSON object, without `history` and `longer` if there is none."""
    values = msgspec.to_builtins(report.status) | msgspec.to_builtins(report.facts)
    for name in ("history", "longer"):
        if not values[name]:
            del values[name]
    body = msgspec.json.encode(values)
    return msgspec.json.format(body, indent=2) + b"\n" if pretty else body


def decode(body: bytes) -> Report:
    """The report in `body`, which may be any bytes. Raises NotAReport."""
    try:
        return Report(_STATUS.decode(body), _FACTS.decode(body))
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise NotAReport(str(error)) from None


_STATUS = msgspec.json.Decoder(Status)
_FACTS = msgspec.json.Decoder(Facts)
