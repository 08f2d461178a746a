"""A thread that runs calls in the order in which they were handed over."""

from collections.abc import Callable
from queue import SimpleQueue
from threading import Thread

from kraft.storage.errors import StorageError
from kraft.storage.reactor_thread import ReactorThread


class Worker:
    """The thread `name`. A call that raises ends it: that is reported, and later calls are dropped."""

    def __init__(self, name: str, reactor: ReactorThread) -> None:
        self._name = name
        self._reactor = reactor
        self._calls: SimpleQueue[Callable[[], object] | None] = SimpleQueue()
        self._thread = Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def do(self, call: Callable[[], object]) -> None:
        """Run `call` later, on the thread."""
        self._calls.put(call)

    @property
    def waiting(self) -> int:
        """Calls handed over and not begun."""
        return self._calls.qsize()

    def stop(self) -> None:
        """Run all calls handed over, then end the thread. Waits for that."""
        self._calls.put(None)
        self._thread.join()

    def _run(self) -> None:
        try:
            while (call := self._calls.get()) is not None:
                call()
        except StorageError as error:
            self._reactor.fail(error)
        except Exception as error:  # a thread that dies silently would look like a slow disk
            reason = f"the thread {self._name} failed: {type(error).__name__}: {error}"
            self._reactor.fail(StorageError(reason))
