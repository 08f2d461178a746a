"""Numbers as text for people."""

from collections.abc import Sequence
from datetime import UTC, datetime

from kraft.web.html import Html, element, join

NOTHING = "\N{EN DASH}"
GROUPS_NAMED_MAX = 3  # in one sentence
_BYTES = ("B", "KiB", "MiB", "GiB", "TiB")


def size(count: float | None) -> str:
    """A size in bytes with a binary unit, to about three digits."""
    if count is None:
        return NOTHING
    number, place = float(count), 0
    while number >= 1000 and place < len(_BYTES) - 1:
        number, place = number / 1024, place + 1
    return f"{number:.0f} {_BYTES[place]}" if place == 0 or number >= 100 else f"{number:.1f} {_BYTES[place]}"


def count(number: float | None) -> str:
    """A whole number with thin spaces between thousands; a dash for None."""
    return NOTHING if number is None else f"{number:,.0f}".replace(",", "\u202f")


def rate(per_second: float) -> str:
    """A rate per second; a small one with a decimal."""
    return f"{per_second:.1f}" if 0 < per_second < 10 else count(per_second)


def milliseconds(number: float | None) -> str:
    """A time in milliseconds; a dash for None."""
    if number is None:
        return NOTHING
    return f"{number:.1f}" if number < 100 else count(number)


def duration(seconds: float) -> str:
    """A duration in its two largest units."""
    whole = int(seconds)
    days, hours, minutes = whole // 86_400, whole // 3600 % 24, whole // 60 % 60
    if days:
        return f"{days} d {hours} h"
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {whole % 60} s" if minutes else f"{whole} s"


def names(ids: Sequence[str]) -> str:
    """One or more ids in a sentence: `K1, K2 and K3`."""
    return ", ".join(ids[:-1]) + " and " + ids[-1] if len(ids) > 1 else ids[0]


def groups(ids: Sequence[int]) -> str:
    """One or more groups in a sentence: `group 1`, `groups 1 and 2`, `8 groups (1, 2, 3, ...)`."""
    if len(ids) == 1:
        return f"group {ids[0]}"
    texts = [str(id_) for id_ in ids]
    if len(ids) <= GROUPS_NAMED_MAX:
        return f"groups {names(texts)}"
    return f"{len(ids)} groups ({', '.join(texts[:GROUPS_NAMED_MAX])}, ...)"


def utc(unix_seconds: float) -> str:
    """A time of day in UTC; a dash for a time out of range."""
    when = _when(unix_seconds)
    return NOTHING if when is None else when.strftime("%H:%M:%S UTC")


def moment(unix_seconds: float) -> Html:
    """A time of day in UTC, with the full date in an attribute; a dash for a time out of range."""
    when = _when(unix_seconds)
    if when is None:
        return element("span", NOTHING)
    return element("time", when.strftime("%H:%M:%S"), datetime=when.strftime("%Y-%m-%dT%H:%M:%SZ"))


def clock_time(unix_seconds: float) -> Html:
    """A `moment` with its time zone, where a sentence needs it. Scripts replace both by the local time."""
    return join((moment(unix_seconds), " ", element("span", "UTC", class_="zone")))


def _when(unix_seconds: float) -> datetime | None:
    try:
        return datetime.fromtimestamp(unix_seconds, UTC)
    except (ValueError, OverflowError, OSError):
        return None
