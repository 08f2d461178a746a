"""What an image that a simulated node has opened holds, as state machines."""

from functools import partial

import msgspec

from kraft.host.backup.pinned_images import PinnedImage
from kraft.kv.keyspace import Keyspace
from kraft.kv.machine import Machine
from kraft.kv.versions import MACHINE_VERSION
from kraft.node.values import Rows, decode_rows

PIECE_BYTES = 1 << 20


def open_image(trio, node="K1", within=60):
    """The outcome of an image that `node` opens: a `PinnedImage`, or why there is none."""
    opened: list[PinnedImage | Exception] = []
    trio.host(node).open_image(opened.append)
    assert trio.run(within, partial(bool, opened))
    return opened[0]


def machines_of(trio, image, node="K1"):
    """The states of all groups in an open image, by group; it is closed."""
    machines = {group: _read(trio, reader) for group, reader in image.readers.items()}
    trio.host(node).images.close(image.token)
    return machines


def _read(trio, reader):
    rows: list[Rows] = []
    after = None
    while not rows or not rows[-1].end:
        enough = partial(_is_longer, rows, len(rows))
        reader.read(after, PIECE_BYTES, rows.append)
        assert trio.run(5, enough)
        after = rows[-1].last
    keyspace = Keyspace()
    both = [msgspec.structs.astuple(row) for piece in rows for row in decode_rows(piece.data)]
    keyspace.load([row[:4] for row in both if not row[4]])
    keyspace.ledger.load([row[:4] for row in both if row[4]])
    base = reader.checkpoint.base
    return Machine.restored(keyspace, base.stamp, reader.checkpoint.revision, MACHINE_VERSION)


def _is_longer(rows, than):
    return len(rows) > than
