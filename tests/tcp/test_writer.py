"""Direct writes: in order, at once where the socket takes them."""

from pathlib import Path

import pytest
from twisted.internet.testing import StringTransport

from kraft.tcp.writer import DirectWriter
from tests.transport.wires import Descriptor

ROOT = Path(__file__).parent.parent.parent


@pytest.mark.parametrize("room", [0, 1, 3, 100])
def test_direct_writes_keep_the_order(room):
    """Bytes that the socket does not take wait, and later writes wait after them."""
    transport = Descriptor(room)
    writer = DirectWriter(transport)

    writer.write(b"abc")
    assert writer.write(b"def") == writer.unsent_bytes == max(0, 6 - room)
    assert transport.sent == b"abcdef"[:room]
    transport.room = 100
    transport.doWrite()
    writer.write(b"ghi")

    assert transport.sent == b"abcdefghi"


def test_an_error_is_left_to_the_reactor():
    """Nothing ends inside a write; the next turn meets the same error."""
    error = OSError("broken pipe")
    transport = Descriptor(error)

    DirectWriter(transport).write(b"abc")

    assert transport.doWrite() is error


def test_other_transports_are_written_as_usual():
    plain = StringTransport()
    assert DirectWriter(plain).write(b"abc") == 0
    assert plain.value() == b"abc"


def test_a_connection_may_begin_tls_before_the_first_write():
    """As on a port that takes both kinds: the writer exists from the start."""
    transport, secure = Descriptor(100), Descriptor(100)
    writer = DirectWriter(transport)
    transport.getHandle = lambda: secure  # type: ignore[method-assign]

    writer.write(b"abc")

    assert (transport.sent, secure.sent) == (b"", b"abc")


def test_nothing_else_looks_into_the_buffer_of_a_transport():
    """Twisted may rename it; then one module has to follow."""
    sources = (ROOT / "kraft").rglob("*.py")
    assert [path.name for path in sources if "_tempData" in path.read_text()] == ["writer.py"]
