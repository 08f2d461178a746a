"""Whether all replicas hold the same state: the sums of their checkpoints at equal indexes are compared.

Checkpoints are taken where a marker entry is applied, so those of different replicas are comparable.
Followers report their sums to the leader. The sum of a majority is right, and a replica with another sum at
the same index is wrong. This module is pure: sums in, verdicts out.

A replica is judged by the newest of its reports at an index where the right sum is known. So a replica that
got a copy of the right state is right again, although its old reports were wrong.
"""

from collections.abc import Collection
from dataclasses import dataclass

REMEMBERED = 64  # indexes: a replica that is this many checkpoints late gets a snapshot rather than the log

EQUAL, DIFFERENT, UNKNOWN = "equal", "different", "unknown"  # states of a `ReplicaSum`


@dataclass(frozen=True, slots=True)
class Verdict:
    """Replicas differ at `index`. `sum` is that of the majority; `differing` pairs the other replicas with
    theirs.

    Without a majority `sum` is empty, and `differing` holds all replicas that reported: none is known to be
    right.
    """

    index: int
    sum: bytes
    differing: tuple[tuple[str, bytes], ...]

    @property
    def decided(self) -> bool:
        """Whether it is known which replicas are wrong."""
        return bool(self.sum)


@dataclass(frozen=True, slots=True)
class ReplicaSum:
    """One replica's newest checkpoint that can be judged, or else its newest; index 0 when there is none.

    `sum` is in hex digits; `state` is equal, different or unknown.
    """

    node: str
    index: int
    sum: str
    state: str


class CheckpointSums:
    """The sums known to replica `node` of a group: always its own, and those of others while it leads.

    `newest` is the index and the sum of this replica's last checkpoint, or None.
    """

    def __init__(self, node: str, remembered: int = REMEMBERED) -> None:
        self._node = node
        self._remembered = remembered
        self._sums: dict[int, dict[str, bytes]] = {}  # index -> replica -> sum
        self.newest: tuple[int, bytes] | None = None

    # -- what is known --------------------------------------------------------------------------------

    def own(self, index: int, sum_: bytes) -> None:
        """This replica's checkpoint at `index` is durable."""
        self._record(self._node, index, sum_)

    def heard(self, peer: str, index: int, sum_: bytes) -> None:
        """`peer` reports its checkpoint; its last report of an index counts."""
        if peer != self._node:
            self._record(peer, index, sum_)

    def restored(self, index: int, sum_: bytes) -> None:
        """This replica's state was replaced by a copy: its earlier sums no longer describe it."""
        self.forget(self._node)
        self.own(index, sum_)

    def forget(self, replica: str) -> None:
        """The replica is gone, or has another state now."""
        for sums in self._sums.values():
            sums.pop(replica, None)
        self._trim()

    def follow(self) -> None:
        """This replica no longer leads: drop the reports of others, which go elsewhere now."""
        for index, sums in list(self._sums.items()):
            self._sums[index] = {r: s for r, s in sums.items() if r == self._node}
        self._trim()

    # -- verdicts -------------------------------------------------------------------------------------

    def judge(self, electors: Collection[str]) -> tuple[Verdict, ...]:
        """All differences that still stand, newest first; empty when no replica is known to be wrong.

        A majority of `electors` (all voters of both sides of a joint configuration) decides which sum is
        right. Learners are judged by it but do not count.
        """
        agreed = self._agreed(electors)
        found: dict[int, dict[str, bytes]] = {}
        wrong = set()
        for replica in self._replicas():
            index = self._newest_of(replica, agreed)
            if index is not None and self._sums[index][replica] != agreed[index]:
                found.setdefault(index, {})[replica] = self._sums[index][replica]
                wrong.add(replica)
        verdicts = [
            Verdict(index, agreed[index], tuple(sorted(sums.items()))) for index, sums in found.items()
        ]
        verdicts += self._undecided(agreed, wrong)
        return tuple(sorted(verdicts, key=lambda verdict: -verdict.index))

    def table(self, electors: Collection[str], replicas: Collection[str]) -> tuple[ReplicaSum, ...]:
        """One row for each of `replicas`, in the order of their ids."""
        agreed = self._agreed(electors)
        return tuple(self._row(replica, agreed) for replica in sorted(replicas))

    def disproved(self, index: int, sum_: bytes) -> bool:
        """Whether this replica is wrong, given that a majority has `sum_` at `index`."""
        mine = self._sums.get(index, {}).get(self._node)
        return mine is not None and mine != sum_

    # -- the arithmetic -------------------------------------------------------------------------------

    def _record(self, replica: str, index: int, sum_: bytes) -> None:
        self._sums.setdefault(index, {})[replica] = sum_
        self._trim()

    def _trim(self) -> None:
        for index in [index for index, sums in self._sums.items() if not sums]:
            del self._sums[index]
        while len(self._sums) > self._remembered:
            del self._sums[min(self._sums)]
        newest = self._newest_of(self._node, self._sums)
        self.newest = None if newest is None else (newest, self._sums[newest][self._node])

    def _replicas(self) -> list[str]:
        return sorted({replica for sums in self._sums.values() for replica in sums})

    def _agreed(self, electors: Collection[str]) -> dict[int, bytes]:
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

    def _undecided(self, agreed: dict[int, bytes], wrong: Collection[str]) -> list[Verdict]:
        """Differences where there is no majority, between replicas not judged at that index or later."""
        judged = {replica: self._newest_of(replica, agreed) or 0 for replica in self._replicas()}
        found = []
        for index in self._sums.keys() - agreed.keys():
            sums = {r: s for r, s in self._sums[index].items() if r not in wrong and judged[r] < index}
            if len(set(sums.values())) > 1:
                found.append(Verdict(index, b"", tuple(sorted(sums.items()))))
        return found

    def _row(self, replica: str, agreed: dict[int, bytes]) -> ReplicaSum:
        index = self._newest_of(replica, agreed)
        if index is None:
            index = self._newest_of(replica, self._sums)
            state = UNKNOWN
        else:
            state = EQUAL if self._sums[index][replica] == agreed[index] else DIFFERENT
        return ReplicaSum(replica, index or 0, self._sums[index][replica].hex() if index else "", state)
