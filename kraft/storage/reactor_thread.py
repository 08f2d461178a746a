"""The way from storage's threads back to the reactor's."""

from collections.abc import Callable
from functools import partial
from typing import Protocol

from kraft.storage.damage import remember_damage
from kraft.storage.errors import Damaged, StorageError
from kraft.storage.ports import Directory, StorageObserver


class ProcessEnd(Protocol):
    """Ends the process with a reason in one line."""

    def __call__(self, reason: str, /, *, damaged: bool = False) -> object:
        """`damaged`: the data directory is, so that another start would not help."""


class ReactorThread:
    """Runs calls on the reactor's thread, in order, and reports there, once, that the disk failed.

    `failed` is true from then on: no more work is accepted. `observer` is called through `run` only.
    `directory` keeps the reason, if it is damage.
    """

    def __init__(
        self,
        call_in_reactor: Callable[..., object],
        fatal: ProcessEnd,
        observer: StorageObserver,
        directory: Directory,
    ) -> None:
        self.run = call_in_reactor
        self.observer = observer
        self.failed = False
        self._fatal = fatal
        self._directory = directory

    def fail(self, error: StorageError) -> None:
        """A thread of storage cannot go on; only the first of them is reported. From any thread."""
        if self.failed:
            return
        self.failed = True
        reason = str(error)
        if isinstance(error, Damaged):
            remember_damage(self._directory, reason)
            self.run(partial(self._fatal, damaged=True), reason)
        else:
            self.run(self._fatal, reason)
