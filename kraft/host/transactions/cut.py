"""A read of keys in several groups that shows all of them as they were at one moment, without a lock.

It looks twice. A value that is the same in both looks stood unchanged in between, so there was a moment at
which all of them stood together. A transaction that was committed meanwhile shows in the revision of a key,
or still holds its locks: a look waits for those. A missing key has no revision, but the group remembers what
was removed (`kraft.kv.removals`).

The first look asks nobody: it takes what the replicas here have applied, however far they lag. What they have
applied was committed before, and each further look begins later and is linearizable. So what is the same in
both stood at the moment of the first look. Without a replica of each group the first look counts for nothing.

If keys change between the looks, there are further ones. After `LOOKS` of them the read becomes a transaction
that locks its keys, and waits for others like any write.
"""

from collections.abc import Collection, Mapping
from functools import partial

from kraft.host.requests.round import ReadOutcome, View
from kraft.host.transactions.coordinator import Coordinator, TransactionDone
from kraft.host.transactions.ports import GroupRequests
from kraft.kv.commands import Exec, Look, Watched
from kraft.kv.excerpt import examined
from kraft.kv.replies import Reply

LOOKS = 4  # beside the first one


class Cut:
    """Reads the `Look`s of `parts`, by group; their watched keys have to be unchanged, as in a transaction.

    `done` gets what `Coordinator.execute` gives. A `fresh` read relies on no lease.
    """

    def __init__(
        self,
        parts: Mapping[int, Exec],
        size: int,
        requests: GroupRequests,
        coordinator: Coordinator,
        done: TransactionDone,
        *,
        fresh: bool,
    ) -> None:
        self._parts = parts
        self._size = size
        self._requests = requests
        self._coordinator = coordinator
        self._done = done
        self._fresh = fresh
        self._keys = {group: _keys_of(part) for group, part in parts.items()}
        self._looks = 0  # beside the first one
        self._left = 0  # groups that have not answered in this look
        self._failure: Exception | None = None
        self._changed = False  # since the last look
        self._found: dict[int, Reply] = {}
        self._seen: dict[int, tuple[Watched, ...]] = {}

    def start(self) -> None:
        """Look at the replicas here, and go on from there."""
        for group, keys in self._keys.items():
            view = self._requests.applied(group, keys)
            if view is not None:
                self._seen[group] = self._watched(group, view)
        self._look()

    def _look(self) -> None:
        """Read all groups once."""
        self._looks += 1
        self._left = len(self._parts)
        self._changed = False
        for group, keys in self._keys.items():
            self._requests.read(
                group, partial(_itself, keys), partial(self._viewed, group), fresh=self._fresh
            )

    def _viewed(self, group: int, outcome: ReadOutcome) -> None:
        if isinstance(outcome, View):
            keyspace, seen = outcome.keyspace, self._seen.get(group)
            changed = seen is None or not keyspace.unchanged(seen)
            if changed:
                self._changed = True
                self._seen[group] = self._watched(group, outcome)
            if changed or self._looks == 1:
                self._found[group] = examined(keyspace, outcome.now_ms, self._parts[group])
        else:
            self._failure = outcome
        self._left -= 1
        if not self._left:
            self._looked()

    def _looked(self) -> None:
        if self._failure is not None:
            self._done(self._failure)
        elif None in self._found.values():
            self._done(None)  # a watched key has changed: that does not depend on the other groups
        elif not self._changed:
            self._done(self._found)
        elif self._looks < LOOKS:
            self._look()
        else:
            self._coordinator.execute(self._parts, self._size, self._done)

    def _watched(self, group: int, view: View) -> tuple[Watched, ...]:
        revision = view.keyspace.revision
        return tuple([Watched(key, revision(key), view.revision) for key in self._keys[group]])


def _keys_of(part: Exec) -> Collection[bytes]:
    """All keys that `part` reads or watches, each once."""
    keys = dict.fromkeys(watched.key for watched in part.watched)
    for step in part.steps:
        if type(step) is Look:
            keys.update(dict.fromkeys(step.keys))
    return keys.keys()


def _itself(keys: Collection[bytes]) -> Collection[bytes]:
    return keys
