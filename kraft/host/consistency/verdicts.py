"""Whether all replicas hold the same state: the sums of their checkpoints at equal indexes are compared.

Checkpoints are taken where a marker entry is applied, so they are comparable. Followers report theirs to
the leader; what a majority has is right, and who has something else at the same index is the odd one. Pure:
sums in, judgements out.

A replica is judged by the newest of its reports for which the right sum is known: one that was given the
right state is right again, although its old reports were wrong.
"""

from collections.abc import Collection
from dataclasses import dataclass

REMEMBERED = 64  # indexes: a replica that is so many checkpoints late gets a snapshot rather than the log

EQUAL, DIFFERENT, UNKNOWN = "equal", "different", "unknown"  # states of a `ReplicaSum`


@dataclass(frozen=True, slots=True)
class Verdict:
    """Replicas differ at `index`. `sum` is the majority's, and `odd` are those that have another, with it.

    Without a majority `sum` is empty and `odd` are all who differ from one another: nobody can tell who is
    right.
    """

    index: int
    sum: bytes
    odd: tuple[tuple[str, bytes], ...]

    @property
    def decided(self) -> bool:
        """It is known who is wrong."""
        return bool(self.sum)


@dataclass(frozen=True, slots=True)
class ReplicaSum:
    """One replica's newest checkpoint that can be judged, else its newest; index 0 when there is none.

    `sum` is in hex digits; `state` is equal, different or unknown.
    """

    node: str
    index: int
    sum: str
    state: str


class Divergence:
    """The sums that replica `node` of a group knows: its own always, those of others while it leads."""

    def __init__(self, node: str, remembered: int = REMEMBERED) -> None:
        self._node = node
        self._remembered = remembered
        self._sums: dict[int, dict[str, bytes]] = {}  # index -> replica -> sum

    def own(self, index: int, sum_: bytes) -> None:
        """This replica's checkpoint at `index` is durable."""
        self._note(self._node, index, sum_)

    def heard(self, peer: str, index: int, sum_: bytes) -> None:
        """`peer` reports its checkpoint; its last word about an index counts."""
        if peer != self._node:
            self._note(peer, index, sum_)

    def restored(self, index: int, sum_: bytes) -> None:
        """This replica's state was replaced by a copy: what it had before says nothing about it now."""
        self.forget(self._node)
        self.own(index, sum_)

    def forget(self, replica: str) -> None:
        """It is gone, or has another state now."""
        for sums in self._sums.values():
            sums.pop(replica, None)
        self._trim()

    def follow(self) -> None:
        """This replica leads no more: others report elsewhere, and what they said grows old."""
        for index, sums in list(self._sums.items()):
            self._sums[index] = {r: s for r, s in sums.items() if r == self._node}
        self._trim()

    @property
    def newest(self) -> tuple[int, bytes] | None:
        """This replica's last checkpoint, to be reported to a leader that may not know it."""
        index = self._newest_of(self._node, self._sums)
        return None if index is None else (index, self._sums[index][self._node])

    def judge(self, electors: Collection[str]) -> tuple[Verdict, ...]:
        """Every difference that still stands, newest first; empty when nothing is known to be wrong.

        A majority of `electors` (all of both sides of a joint configuration) says what is right; learners
        are judged by it, but do not count.
        """
        right = self._right(electors)
        found: dict[int, dict[str, bytes]] = {}
        wrong = set()
        for replica in self._replicas():
            index = self._newest_of(replica, right)
            if index is not None and self._sums[index][replica] != right[index]:
                found.setdefault(index, {})[replica] = self._sums[index][replica]
                wrong.add(replica)
        verdicts = [Verdict(index, right[index], tuple(sorted(odd.items()))) for index, odd in found.items()]
        verdicts += self._undecided(right, wrong)
        return tuple(sorted(verdicts, key=lambda v: -v.index))

    def table(self, electors: Collection[str], replicas: Collection[str]) -> tuple[ReplicaSum, ...]:
        """What is known of each of `replicas`, in the order of their ids."""
        right = self._right(electors)
        return tuple(self._row(replica, right) for replica in sorted(replicas))

    def fenced(self, index: int, sum_: bytes) -> bool:
        """A majority is said to have `sum_` at `index`: whether that proves this replica wrong."""
        mine = self._sums.get(index, {}).get(self._node)
        return mine is not None and mine != sum_

    # -- the arithmetic -------------------------------------------------------------------------------

    def _note(self, replica: str, index: int, sum_: bytes) -> None:
        self._sums.setdefault(index, {})[replica] = sum_
        self._trim()

    def _trim(self) -> None:
        for index in [index for index, sums in self._sums.items() if not sums]:
            del self._sums[index]
        while len(self._sums) > self._remembered:
            del self._sums[min(self._sums)]

    def _replicas(self) -> list[str]:
        return sorted({replica for sums in self._sums.values() for replica in sums})

    def _right(self, electors: Collection[str]) -> dict[int, bytes]:
        """index -> the sum that a majority of the electors has there."""
        found = {}
        for index, sums in self._sums.items():
            votes = [sums[e] for e in electors if e in sums]
            for candidate in set(votes):
                if votes.count(candidate) * 2 > len(electors):
                    found[index] = candidate
        return found

    def _newest_of(self, replica: str, among: Collection[int]) -> int | None:
        """The newest index of `among` that the replica has reported."""
        return max((i for i in among if replica in self._sums[i]), default=None)

    def _undecided(self, right: dict[int, bytes], wrong: Collection[str]) -> list[Verdict]:
        """Differences at indexes without a majority, between replicas not judged there or behind it."""
        judged = {replica: self._newest_of(replica, right) or 0 for replica in self._replicas()}
        found = []
        for index in self._sums.keys() - right.keys():
            sums = {r: s for r, s in self._sums[index].items() if r not in wrong and judged[r] < index}
            if len(set(sums.values())) > 1:
                found.append(Verdict(index, b"", tuple(sorted(sums.items()))))
        return found

    def _row(self, replica: str, right: dict[int, bytes]) -> ReplicaSum:
        index = self._newest_of(replica, right)
        if index is None:
            index = self._newest_of(replica, self._sums)
            state = UNKNOWN
        else:
            state = EQUAL if self._sums[index][replica] == right[index] else DIFFERENT
        return ReplicaSum(replica, index or 0, self._sums[index][replica].hex() if index else "", state)
