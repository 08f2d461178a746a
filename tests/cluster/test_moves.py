"""Slots move between groups of real nodes while unchanged clients use them: no command fails."""

from functools import partial

import pytest

from kraft.kv.slots import SLOTS
from tests.cluster.faults import on_every_node, under_faults
from tests.cluster.harness import maps, wait_until
from tests.cluster.slot_moves import Clients, SlotMoves, fill, unfinished
from tests.cluster.test_group_transactions import open_transactions, serves
from tests.cluster.test_groups import GROUPS

pytestmark = pytest.mark.slow

MOVES = 12


@pytest.fixture
def trio(make_cluster):
    cluster = make_cluster(cluster={"groups": GROUPS})
    cluster.start()
    wait_until(partial(serves, cluster), "every group has a leader, and knows transactions")
    return cluster


def test_slots_move_back_and_forth_under_load(trio):
    fill(trio["K1"])
    clients, moves = Clients(), SlotMoves(trio)
    roles = clients.roles()

    def work(server, number, stop):
        roles[number % len(roles)](server, number, stop)

    def until_moved(cluster, progress):
        wait_until(lambda: moves.done >= MOVES, "slots have moved")

    workers = [*on_every_node(trio, work), moves.run]
    under_faults(trio, workers, lambda: clients.done, [until_moved])
    for server in trio:
        clients.check(server)
    wait_until(lambda: not any(map(unfinished, trio)), "no move is left")
    wait_until(lambda: all(open_transactions(server) == 0 for server in trio), "no lock is left")
    assert set(clients.counts) == {"increments", "changes", "looks", "tokens", "lists"}
    slots = {server.id: [row["slots"] for row in maps(server.order("GROUPS"))] for server in trio}
    assert slots["K1"] == slots["K2"] == slots["K3"]
    assert covered(slots["K1"]) == SLOTS


def covered(shown):
    """How many slots these ranges have."""
    parts = [part.split("-") for text in shown for part in text.split(",") if part]
    return sum(int(part[-1]) - int(part[0]) + 1 for part in parts)
