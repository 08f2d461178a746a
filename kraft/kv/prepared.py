"""What a transaction that has prepared is going to change: a row of the ledger until it is resolved."""

from collections.abc import Mapping

import msgspec

from kraft.kv.commands.exec import Exec
from kraft.kv.execution import Run, execute
from kraft.kv.ledger import LedgerKind
from kraft.kv.overlaid_keyspace import OverlaidKeyspace
from kraft.kv.record import Record
from kraft.kv.replies import encode_replies
from kraft.kv.state import MachineState
from kraft.kv.transaction_index import Hold


class Change(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What a key, or a row of the ledger, is to hold: None as the value removes it.

    A `revision` other than 0 is kept; else the change gets that of the transaction.
    """

    key: bytes
    value: bytes | None
    expires: int = 0
    revision: int = 0


class Prepared(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What was prepared: `hold` says who holds which locks. `replies` are encoded as those of one command.

    `provisional` is the revision that changes have in `replies`. `changed` is whether they take a revision at
    all. `cleared` means that all keys go before the `keys` come. `rows` are those of the ledger.
    """

    hold: Hold
    replies: bytes
    provisional: int
    changed: bool
    cleared: bool
    keys: tuple[Change, ...]
    rows: tuple[Change, ...]

    def encoded(self) -> bytes:
        """The data of the row."""
        return _encode(self)

    def install(self, state: MachineState) -> int:
        """Make the changes. Returns their revision, 0 if they took none."""
        space = state.keyspace
        state.revision += self.changed
        if self.cleared:
            state.clear()
        for change in self.keys:
            if change.value is not None:
                space.put(change.key, change.value, change.revision or state.revision, change.expires)
            elif space.remove(change.key) is None:
                space.removals.add(change.key, state.revision)  # it came and went
        ledger = space.ledger
        for change in self.rows:
            kind, name = LedgerKind(change.key[0]), change.key[1:]
            if change.value is None:
                ledger.remove(kind, name)
            else:
                ledger.put(kind, name, change.value, state.revision, change.expires)
        return state.revision if self.changed else 0


def prepare_work(state: MachineState, hold: Hold, work: Exec, run: Run) -> Prepared:
    """Run `work` on the side of `state`, which stays as it is."""
    aside = MachineState()
    keyspace = OverlaidKeyspace(state.keyspace, state.stamp)
    aside.keyspace, aside.stamp, aside.revision = keyspace, state.stamp, state.revision
    replies = encode_replies((execute(aside, work.steps, run),))
    return Prepared(
        hold,
        replies,
        state.revision + 1,
        aside.revision > state.revision,
        keyspace.overlaid.cleared,
        _changes(keyspace.overlaid.changed, state.revision),
        _changes(keyspace.rows.overlaid.changed, -1),
    )


def decode_prepared(data: bytes) -> Prepared:
    """Inverse of `Prepared.encoded`. Raises `msgspec.MsgspecError`."""
    return _decoder.decode(data)


def _changes(records: Mapping[bytes, Record | None], before: int) -> tuple[Change, ...]:
    """The changes, where a record with a revision up to `before` keeps it."""
    return tuple(
        [
            Change(key, None) if record is None else _change(record, key, before)
            for key, record in records.items()
        ]
    )


def _change(record: Record, key: bytes, before: int) -> Change:
    return Change(key, record.value, record.expires, record.revision if record.revision <= before else 0)


_encode = msgspec.msgpack.Encoder().encode
_decoder = msgspec.msgpack.Decoder(Prepared)
