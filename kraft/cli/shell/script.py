"""Commands from a file, a pipe or the command line, one per line. A failure names its line.

The lines after one that found no node are not executed: they would wait for nothing, one after the other.
"""

from collections.abc import Iterable

from kraft.cli.cluster_client import NoServer, OutcomeUnknown
from kraft.cli.failure import Failure
from kraft.cli.shell.lines import OpenQuote, split
from kraft.cli.shell.shell import Leave, Shell, Words
from kraft.resp.values import Error, Reply

FAILED, UNKNOWN = 1, OutcomeUnknown.status


class Script:
    """The lines of one source.

    source: what stands before the number of a line in a message, such as `line ` or `load.txt:`.
    stop: end at the first command that fails.
    """

    def __init__(self, shell: Shell, source: str, stop: bool) -> None:
        self._shell = shell
        self._source = source
        self._stop = stop
        self._status = 0

    def run(self, lines: Iterable[bytes]) -> int:
        """Execute all lines. Returns 0, 1 if a command failed, 4 if the outcome of one is unknown."""
        for number, line in enumerate(lines, 1):
            try:
                words = split(line.rstrip(b"\r\n"))
                if words and not words[0].startswith(b"#"):
                    self._perform(number, words)
            except OpenQuote as problem:
                self._fail(number, str(problem), FAILED)
            except NoServer as problem:
                self._fail(number, f"{problem}; this line and those after it were not executed", FAILED)
                break
            except Failure as failure:
                self._fail(number, str(failure), failure.status)
            except Leave:
                break
            if self._status and self._stop:
                break
        return self._status

    def _perform(self, number: int, words: Words) -> None:
        if self._shell.local(words):
            return
        reply = self._shell.client.call(words)
        if self._shell.form.complete or not isinstance(reply, Error):
            self._shell.show(words, reply)
        if (error := _error(reply)) is not None:
            status = UNKNOWN if error.text.startswith("UNCERTAIN") else FAILED
            self._fail(number, error.text, status)

    def _fail(self, number: int, text: str, status: int) -> None:
        self._status = max(self._status, status)
        self._shell.complain(f"{self._source}{number}: {text}")


def _error(reply: Reply) -> Error | None:
    """The error that a reply is, or that one command of a transaction got."""
    if isinstance(reply, list):
        return next((each for each in reply if isinstance(each, Error)), None)
    return reply if isinstance(reply, Error) else None
