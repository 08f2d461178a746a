"""The way from storage's threads back to the reactor's."""

from collections.abc import Callable

from kraft.storage.ports import StorageObserver


class ReactorThread:
    """Runs calls on the reactor's thread, in order, and reports there, once, that the disk failed.

    `failed` is true from then on: no more work is accepted. `observer` is called through `run` only.
    """

    def __init__(
        self,
        call_in_reactor: Callable[..., object],
        fatal: Callable[[str], None],
        observer: StorageObserver,
    ) -> None:
        self.run = call_in_reactor
        self.observer = observer
        self.failed = False
        self._fatal = fatal

    def fail(self, reason: str) -> None:
        """A thread of storage cannot go on; only the first of them is reported. From any thread."""
        if not self.failed:
            self.failed = True
            self.run(self._fatal, reason)
