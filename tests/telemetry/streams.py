"""Streams that the log is written to."""

import errno
import io
import re


class FullDisk(io.StringIO):
    """A file on a disk without room, as long as it is `full`."""

    full = True

    def write(self, text: str) -> int:
        if self.full:
            raise OSError(errno.ENOSPC, "no space left on device")
        return super().write(text)


class Terminal(io.StringIO):
    """A terminal that keeps what it is sent."""

    def isatty(self) -> bool:
        return True

    @property
    def lines(self) -> list[str]:
        """Without the time, which every line begins with."""
        found = self.getvalue().splitlines()
        return [re.sub(r"^\d\d:\d\d:\d\d ", "", line) for line in found]
