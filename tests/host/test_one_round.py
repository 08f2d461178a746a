"""What a round of writes in many groups costs the disks, with real hosts."""

from functools import partial

from kraft.kv.commands import Put
from tests.host.trio import Trio

GROUPS = 16


def leads_all(trio, id_):
    """Whether the node leads all groups, and the others know it."""
    return all(p.host.leader(group) == id_ for p in trio.processes() for group in range(GROUPS)) and all(
        group.raft.state.leads_with_commit for group in trio.host(id_).groups.values()
    )


def counted(process, commits):
    """Add the groups of each transaction of a node to `commits`."""
    disk = process.host.persistence._disk
    commit = disk.commit

    def counting(transaction, done):
        commits.append([group for group, _ in transaction.writes])
        commit(transaction, done)

    disk.commit = counting


def test_a_pipeline_over_sixteen_groups_is_one_transaction_on_each_disk():
    trio = Trio(groups=GROUPS)
    assert trio.run(
        10, lambda: all(p.host.leader(group) for p in trio.processes() for group in range(GROUPS))
    )
    for process in trio.processes()[1:]:
        for group in process.host.groups.values():
            group.drain(True)
            if group.raft.state.leads:
                group.transfer_leadership("K1")
    assert trio.run(5, partial(leads_all, trio, "K1"))
    trio.run(2)
    commits: dict[str, list[list[int]]] = {process.id: [] for process in trio.processes()}
    for process in trio.processes():
        counted(process, commits[process.id])
    for number in range(GROUPS):
        trio.host("K1").write(number, [Put(b"key", b"value")], 20, trio.answers.append)
    assert trio.answered(GROUPS, within=0.5)
    assert trio.answers == [["OK"]] * GROUPS
    for found in commits.values():
        assert list(map(sorted, found)) == [list(range(GROUPS))], "one transaction with all groups"
