"""A client that runs scripts on the client port under test."""

from typing import Any

from tests.server.fakes import Port, encode


class Scripts:
    """One connection; requests are answered at once."""

    def __init__(self, port: Port | None = None) -> None:
        self.port = port or Port()
        self._talk = self.port.connect()

    def call(self, *words: Any) -> bytes:
        """The bytes of the reply."""
        data = encode(*[word if isinstance(word, bytes) else str(word) for word in words])
        reply: bytes = self._talk.send(data)
        self.port.settle()
        return reply + self._talk.read()

    def run(self, source: str, *keys_and_arguments: Any, keys: int = 0) -> bytes:
        """EVAL."""
        return self.call("EVAL", source, keys, *keys_and_arguments)
