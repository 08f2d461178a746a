"""A program in a terminal of its own: what is typed reaches it, and its screen can be read."""

import os
import re
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pexpect
import pyte

COLUMNS, LINES = 100, 40
DEADLINE_SECONDS = 60.0
STEP_SECONDS = 0.05


class _AnsweringScreen(pyte.Screen):
    """A screen that answers a program's question for the position of the cursor, as terminals do."""

    def __init__(self, terminal: "Terminal", lines: int, columns: int) -> None:
        super().__init__(columns, lines)
        self._terminal = terminal

    def write_process_input(self, data: str) -> None:
        self._terminal.send(data)


class Terminal:
    """One process; `size` is in lines and columns. `raw` collects every byte that it has written."""

    def __init__(
        self,
        command: Sequence[str | Path],
        environment: Mapping[str, str],
        size: tuple[int, int] = (LINES, COLUMNS),
    ) -> None:
        self.screen = _AnsweringScreen(self, *size)
        self._stream = pyte.ByteStream(self.screen)
        self.raw = b""
        program, *arguments = map(str, command)
        inherited = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")}
        self._process: Any = pexpect.spawn(
            program,
            arguments,
            env={**inherited, "TERM": "xterm-256color", "LANG": "C.UTF-8", **environment},
            dimensions=size,
            timeout=DEADLINE_SECONDS,
        )

    def close(self) -> None:
        """End the process, and print the screen for a failing test's report."""
        sys.stdout.write("\n".join(["--- the screen:", *self.lines, ""]))
        self._process.close(force=True)

    @property
    def lines(self) -> list[str]:
        """The lines of the screen that are not empty, without spaces at their ends."""
        return [line.rstrip() for line in self.screen.display if line.strip()]

    @property
    def height(self) -> int:
        """How many lines of the screen there are up to the last one that is not empty."""
        return max((y for y, line in enumerate(self.screen.display, 1) if line.strip()), default=0)

    @property
    def text(self) -> str:
        """The screen as one text, in which a line that was too long for the screen is one line."""
        shown = (line if line[-1] != " " else f"{line.rstrip()}\n" for line in self.screen.display)
        return re.sub("\n+", "\n", "".join(shown))

    def send(self, data: str) -> None:
        """Send keys as they are."""
        self._process.send(data)

    def type(self, line: str) -> None:
        """Send a line and Enter."""
        self.send(f"{line}\r")

    def interrupt(self) -> None:
        """Press Ctrl-C."""
        self.send("\x03")

    def signal(self, number: int) -> None:
        """Send a signal to the process."""
        self._process.kill(number)

    def wait(self, text: str, times: int = 1, deadline: float = DEADLINE_SECONDS) -> None:
        """Wait until the screen shows `text` that often."""
        self._wait(lambda: self.text.count(text) >= times, f"{text!r} on the screen", deadline)

    def wait_last(self, text: str, deadline: float = DEADLINE_SECONDS) -> None:
        """Wait until the last line of the screen is `text`."""
        self._wait(lambda: self.lines[-1:] == [text], f"{text!r} in the last line", deadline)

    def wait_prompt(self, but: str = "-", deadline: float = DEADLINE_SECONDS) -> None:
        """Wait until the last line is a prompt, and not that of the node `but`."""
        prompt = re.compile(r"[\w.: -]+>")
        self._wait(
            lambda: prompt.fullmatch(self.text.split("\n")[-2]) and not self.lines[-1].startswith(but),
            "a prompt in the last line",
            deadline,
        )

    def _wait(self, condition: Any, what: str, deadline: float) -> None:
        end = time.monotonic() + deadline
        while not condition():
            assert time.monotonic() < end, f"not within {deadline:g}s: {what}\n{self.text}"
            assert self._read() or condition(), f"the process ended before {what}\n{self.text}"

    def _read(self) -> bool:
        """Take what the process has written meanwhile; False after its end."""
        try:
            data = self._process.read_nonblocking(65_536, STEP_SECONDS)
        except pexpect.TIMEOUT:
            return True
        except pexpect.EOF:
            return False
        self.raw += data
        self._stream.feed(data)
        return True

    def end(self) -> int:
        """Wait for the end of the process. Returns its exit status."""
        while self._read():
            pass
        self._process.wait()
        status: int = self._process.exitstatus
        return status
