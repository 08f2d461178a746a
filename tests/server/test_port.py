"""The client port as a whole: its end."""

from tests.server.fakes import Port, encode


def test_draining_answers_what_was_received_then_closes(port: Port) -> None:
    pending, idle = port.connect(), port.connect()
    pending.send(encode("SET", "a", "1") + encode("GET", "a"))
    drained: list[bool] = []
    port.factory.port.drain(lambda: drained.append(True))
    assert idle.transport.disconnecting
    idle.lose()
    port.host.settle()
    assert pending.read() == b"+OK\r\n$1\r\n1\r\n"
    assert pending.transport.disconnecting
    assert not drained
    pending.lose()
    assert drained == [True]
