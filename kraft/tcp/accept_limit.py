"""How many connections a listening port accepts in one turn of the reactor.

Twisted accepts as many as have come: at first 100, and 20 more each time that was not enough. A flood of
connections would hold up the reactor longer and longer, and no other part could tell how many of them were
accepted and not read yet. Redis accepts ten at a time (max-new-connections-per-cycle). The others wait in the
queue of the kernel.
"""

from twisted.internet.tcp import Port

ACCEPTS_MAX = 16  # a few milliseconds; 800 a second on a machine so busy that a turn takes 20 ms


def limit_accepts(port: object) -> None:
    """Let a listening `port` of Twisted accept at most ACCEPTS_MAX connections in a turn.

    `numberAccepts` is the port's own limit for its next turn, which it changes after each.
    """
    if not isinstance(port, Port):  # it has no socket to accept from
        return
    accept = port.doRead

    def accept_few() -> None:
        port.numberAccepts = ACCEPTS_MAX
        accept()  # type: ignore[no-untyped-call]

    port.doRead = accept_few  # type: ignore[method-assign]
