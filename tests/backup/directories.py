"""What a node would find in a data directory."""

from pathlib import Path

import pytest

from kraft.node.values import Loaded
from kraft.storage.store import open_store
from tests.storage.conftest import Witness


def opened(directory: Path, node: str = "K1") -> Loaded:
    """The directory of a stopped node, verified as at a start."""
    store = open_store(
        str(directory),
        node_id=node,
        incarnation=lambda: "f" * 32,
        call_in_reactor=lambda call, *arguments: call(*arguments),
        fatal=lambda reason, **_: pytest.fail(reason),
        observer=Witness(),
    )
    store.close()
    return store.loaded


def content_of(directory: Path, node: str = "K1") -> dict[bytes, bytes]:
    """All keys with their values in the state files of a directory; each is in one group."""
    loaded = opened(directory, node)
    keyspaces = [keyspace for _, keyspace in loaded.checkpoints.values()]
    found = {record.key: record.value for space in keyspaces for record in space.records.values()}
    assert len(found) == sum(map(len, keyspaces)), "a key is in two groups"
    return found
