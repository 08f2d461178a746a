"""What nodes tell the demo while they start."""

import socket

from kraft.cli.notices import NodeNotices
from kraft.telemetry.notify import NotifySocket


def test_the_last_status_of_each_node_is_kept():
    notices = NodeNotices(["K1", "K2"])
    try:
        first, second = (NotifySocket(notices.environment(id_)) for id_ in ("K1", "K2"))
        assert notices.latest() == {}
        first.send("STATUS=reading the data directory")
        first.send("STATUS=loads its data", "EXTEND_TIMEOUT_USEC=1")
        second.send("WATCHDOG=1")
        assert notices.latest() == {"K1": "loads its data"}
        second.send("STATUS=forming")
        assert notices.latest() == {"K1": "loads its data", "K2": "forming"}
    finally:
        notices.close()


def test_a_node_does_not_wait_for_a_demo_that_does_not_read_any_more():
    """A full queue would cost it half a second for each notice."""
    notices = NodeNotices(["K1"])
    sender = NotifySocket(notices.environment("K1"))
    notices.close()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as probe:
        for _ in range(1000):
            sender.send("STATUS=ready")  # refused at once, or this test takes minutes
        assert probe.connect_ex("\0" + notices.environment("K1")["NOTIFY_SOCKET"]) != 0


def test_a_node_without_a_socket_tells_nobody():
    notices = NodeNotices([])
    assert not NotifySocket(notices.environment("K4"))
