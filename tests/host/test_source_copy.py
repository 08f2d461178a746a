"""What the source of a move sends: keys and tokens, a bounded part in one go."""

from collections import Counter
from itertools import pairwise

import pytest

from kraft.host.moves import source_copy
from kraft.host.moves.source_copy import ROW_BYTES, WALKED_KEYS, SourceCopy
from kraft.kv.keyspace import Keyspace
from kraft.kv.ledger import LedgerKind
from kraft.kv.once import FINGERPRINT_BYTES, token_slots
from kraft.kv.slot_index import SlotIndex
from kraft.kv.slots import SLOTS, slot_of

SLOT = slot_of(b"{a}")
MOST = 1 << 20


def token(slot: int | None = None) -> bytes:
    """The data of a token that goes with one slot, or with all."""
    data = bytes(FINGERPRINT_BYTES)
    return data + b"\x90" if slot is None else data + b"\xc1\x00\x01" + slot.to_bytes(2, "big") + b"\x90"


@pytest.fixture
def keyspace() -> Keyspace:
    space = Keyspace()
    for number in range(100):
        space.put(b"{a}%d" % number, b"v" * 50, number + 1)
        space.put(b"{b}%d" % number, b"v", number + 1)
    for _ in space.build_index(SlotIndex):
        pass
    return space


def sent(copy: SourceCopy, most: int = MOST) -> tuple[list[bytes], list[bytes]]:
    """Everything up to the end of the walk, and what is left after that."""
    keys: list[bytes] = []
    tokens: list[bytes] = []
    while not copy.walked or copy.waiting_bytes:
        rows, found = copy.chunk(most)
        keys += [row.key for row in rows]
        tokens += [row.key for row in found]
    return keys, tokens


def test_all_keys_and_the_tokens_of_the_slots_are_sent_once(keyspace: Keyspace) -> None:
    for number in range(3 * WALKED_KEYS):
        slot = (None, SLOT, SLOT + 1)[number % 3]
        keyspace.ledger.put(LedgerKind.TOKEN, b"%d" % number, token(slot), 1, 99)
    keyspace.ledger.put(LedgerKind.SCRIPT, b"sha", b"source", 1)
    keys, tokens = sent(SourceCopy(keyspace, SLOT, SLOT), most=4096)
    assert Counter(keys) == Counter(b"{a}%d" % number for number in range(100))
    assert Counter(tokens) == Counter(b"%d" % number for number in range(3 * WALKED_KEYS) if number % 3 < 2)


def test_a_copy_that_takes_long_has_all_keys_of_a_large_slot() -> None:
    """The index is dropped meanwhile, as nobody has asked for it, and freed in the background."""
    space = Keyspace()
    for number in range(1000):
        space.put(b"{a}%d" % number, b"v", number + 1)
    for _ in space.build_index(SlotIndex):
        pass
    copy = SourceCopy(space, 0, SLOTS - 1)
    space.drop_index(SlotIndex)
    space.garbage.free(SLOTS + 5)
    keys, _ = sent(copy)
    assert copy.keys == 1000
    assert set(keys) == set(space.records)


def test_keys_of_a_few_slots_travel_together() -> None:
    """Each chunk costs the receiver an entry, and of 20,000 keys of all slots some 300 are looked at."""
    space = Keyspace()
    for number in range(20 * WALKED_KEYS):
        space.put(b"%d" % number, b"v", number + 1)
    for _ in space.build_index(SlotIndex):
        pass
    copy = SourceCopy(space, 0, 255)
    chunks = []
    while not copy.walked or copy.waiting_bytes:
        chunks.append(copy.chunk(MOST)[0])
    assert len(chunks) <= 2
    [rows] = [rows for rows in chunks if rows]
    assert {row.key for row in rows} == {key for key in space.records if slot_of(key) <= 255}


def test_no_call_looks_at_more_than_a_part_of_many_tokens(
    keyspace: Keyspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever asks serves clients on the same thread."""
    for number in range(20 * WALKED_KEYS):
        keyspace.ledger.put(LedgerKind.TOKEN, b"%d" % number, token(SLOT + 1 + number % 2), 1, 99)
    looked = [0]

    def counted(data: bytes) -> tuple[int, ...] | None:
        looked[0] += 1
        return token_slots(data)

    monkeypatch.setattr(source_copy, "token_slots", counted)
    copy = SourceCopy(keyspace, SLOT, SLOT)
    calls = []
    while not copy.walked:
        calls.append(looked[0])
        copy.chunk(MOST)
        assert copy.waiting_bytes <= 100 * (ROW_BYTES + 50), "only keys wait"
    calls.append(looked[0])
    assert calls[0] == 0
    assert max(after - before for before, after in pairwise(calls)) == WALKED_KEYS
    assert calls[-1] == 20 * WALKED_KEYS


def test_what_is_left_is_counted_as_it_changes(keyspace: Keyspace) -> None:
    copy = SourceCopy(keyspace, SLOT, SLOT)
    sent(copy)
    keyspace.put(b"{a}1", b"x" * 70, 500)
    keyspace.put(b"{b}1", b"x" * 70, 500)
    keyspace.ledger.put(LedgerKind.TOKEN, b"t", token(SLOT), 1, 99)
    keyspace.ledger.put(LedgerKind.TOKEN, b"u", token(SLOT + 1), 1, 99)
    assert copy.waiting_bytes == 2 * ROW_BYTES + 70 + len(token(SLOT))
    keyspace.put(b"{a}1", b"x", 501)
    keyspace.remove(b"{a}2")
    assert copy.waiting_bytes == 3 * ROW_BYTES + 1 + len(token(SLOT))
    rows, tokens = copy.chunk(MOST)
    assert [(row.key, row.value) for row in rows] == [(b"{a}1", b"x"), (b"{a}2", None)]
    assert [row.key for row in tokens] == [b"t"]
    assert copy.waiting_bytes == 0
    copy.end()
    assert copy.walked
