"""The floor: one Twisted process that parses commands and answers +OK, storing nothing.

Arguments: PORT. What kraft loses against it is what replication, durability and commands cost.
"""

import sys

from twisted.internet import epollreactor

epollreactor.install()

from twisted.internet import reactor  # noqa: E402 - the reactor is chosen above

from bench.servers.wire import Commands, listen  # noqa: E402


class Bare(Commands):
    """Says +OK to every command, in one write per read."""

    def commands_received(self, commands: list[list[bytes]]) -> None:
        """Answer without a look at them."""
        self.send(b"+OK\r\n" * len(commands))


if __name__ == "__main__":
    listen(reactor, int(sys.argv[1]), Bare)
    reactor.run()
