"""A thread that carries out calls in the order in which they were handed over, and dies aloud."""

from collections.abc import Callable
from queue import SimpleQueue
from threading import Thread

from kraft.storage.errors import StorageError


class Worker:
    """The thread `name`. `fail` is told, on that thread, why it ended before its time; after that, calls are
    dropped.
    """

    def __init__(self, name: str, fail: Callable[[str], None]) -> None:
        self._name = name
        self._fail = fail
        self._calls: SimpleQueue[Callable[[], object] | None] = SimpleQueue()
        self._thread = Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def do(self, call: Callable[[], object]) -> None:
        """Carry it out later, on the thread."""
        self._calls.put(call)

    @property
    def waiting(self) -> int:
        """Calls handed over and not begun."""
        return self._calls.qsize()

    def stop(self) -> None:
        """Wait until all that was handed over is done."""
        self._calls.put(None)
        self._thread.join()

    def _run(self) -> None:
        try:
            while (call := self._calls.get()) is not None:
                call()
        except StorageError as error:
            self._fail(str(error))
        except Exception as error:  # a thread that dies silently would look like a slow disk
            self._fail(f"the thread {self._name} failed: {type(error).__name__}: {error}")
