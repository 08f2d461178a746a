"""A moment to restore: a time, or a revision."""

from dataclasses import dataclass
from datetime import UTC, datetime

FORMS = "a time such as 2026-11-29T18:05:00Z, a revision such as 48211, or latest"


@dataclass(frozen=True, slots=True)
class Moment:
    """The state after all that was written up to `time_ms` (Unix ms of the log), or up to `revision`.

    One of the two is set; neither means the latest state there is, or with `image` that of the image alone.
    """

    time_ms: int | None = None
    revision: int | None = None
    image: bool = False

    def __str__(self) -> str:
        if self.time_ms is not None:
            return when(self.time_ms)
        if self.image:
            return "that of the image; --at latest goes on from there"
        return "the latest state" if self.revision is None else f"revision {self.revision}"


LATEST = Moment()
OF_THE_IMAGE = Moment(image=True)


def parse_moment(text: str) -> Moment:
    """The moment in `text`: digits are a revision. Without a zone, a time is local. Raises ValueError."""
    if text == "latest":
        return LATEST
    if text.isascii() and text.isdecimal():
        return Moment(revision=int(text))
    try:
        return Moment(time_ms=int(datetime.fromisoformat(text).timestamp() * 1000))
    except (ValueError, OverflowError, OSError):
        raise ValueError(f"{text[:40]!r} is no moment: write {FORMS}") from None


def when(stamp_ms: int) -> str:
    """A Unix time in milliseconds, in words."""
    if not stamp_ms:
        return "the beginning"
    return datetime.fromtimestamp(stamp_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S.%f")[:-3] + " UTC"
