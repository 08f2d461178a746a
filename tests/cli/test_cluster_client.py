"""The client of the whole cluster: which node it asks, what it sends again, and what it never sends twice."""

import pytest

from kraft.cli.cluster_client import NoServer, OutcomeUnknown, TransactionLost
from kraft.cli.connection import NotSent
from kraft.resp.values import Error
from tests.cli.nodes import NO_LEADER, FakeCluster

SET, GET = [b"SET", b"a", b"1"], [b"GET", b"a"]
LOST = ConnectionResetError(104, "Connection reset by peer")


def reads(words):
    return words[0] == b"GET"


@pytest.fixture
def cluster():
    return FakeCluster()


def test_it_goes_to_the_leader_from_any_node(cluster):
    """One address is enough: the others are learned."""
    cluster.leader = "K3"
    client = cluster.client("K2")
    assert client.call(SET) == "OK"
    assert (cluster["K3"].received, cluster["K2"].received) == ([tuple(SET)], [])
    assert client.server is not None
    assert (client.server.id, client.leader) == ("K3", "K3")
    assert [each.closed for each in cluster.connections] == [True, False]


def test_without_following_it_stays_with_the_given_nodes(cluster):
    """Not even a MOVED leads it away."""
    cluster.leader = "K3"
    client = cluster.client("K2", follow=False)
    moved = Error("MOVED 1 127.0.0.1:10013")
    cluster["K2"].answers = [moved]
    assert client.call(GET) == moved
    cluster["K2"].up = False
    with pytest.raises(NoServer):
        client.call(GET)


def test_a_leader_that_cannot_be_reached_is_asked_through_another_node(cluster):
    """Such as one whose announced address is not valid here."""
    cluster.leader, cluster["K3"].up = "K3", False
    assert cluster.client("K2").call(SET) == "OK"
    assert cluster["K2"].received == [tuple(SET)]


def test_an_address_where_another_node_answers_is_not_the_leader(cluster):
    """Behind a translation of addresses, the leader's own may lead to somebody else."""
    cluster.leader = "K3"
    cluster["K3"].name = "X"
    cluster.nodes.append(type(cluster["X"])(cluster, "K3", cluster["X"].port))
    client = cluster.client("K1")
    assert client.call(SET) == "OK"
    assert cluster["K1"].received == [tuple(SET)]


def test_moved_is_followed(cluster):
    cluster["K1"].answers = [Error("MOVED 15495 127.0.0.1:10012")]
    cluster.leader = ""
    assert cluster.client("K1").call(SET) == "OK"
    assert cluster["K2"].received == [tuple(SET)]


def test_nodes_that_send_it_back_and_forth_are_left_after_a_while(cluster):
    cluster.leader = ""
    cluster["K1"].answers = [Error("MOVED 1 127.0.0.1:10012")] * 20
    cluster["K2"].answers = [Error("MOVED 1 127.0.0.1:10011")] * 20
    reply = cluster.client("K1").call(SET)
    assert isinstance(reply, Error)
    assert reply.text.startswith("MOVED")


def test_a_node_that_dies_while_nothing_is_asked_costs_nothing(cluster):
    """The next write goes to another node, once."""
    client = cluster.client("K1")
    client.call(SET)
    cluster["K1"].up, cluster.leader = False, "K2"
    assert client.call(SET) == "OK"
    assert cluster["K2"].received == [tuple(SET)]
    assert cluster.reports == [
        "K1 127.0.0.1:10011: the node closed the connection",
        "connected to K2 127.0.0.1:10012",
    ]


def test_a_write_that_did_not_leave_is_sent_again(cluster):
    client = cluster.client("K1")
    cluster["K1"].answers = [NotSent("Broken pipe")]
    assert client.call(SET) == "OK"
    assert [len(node.received) for node in cluster.nodes] == [1, 1, 0]


@pytest.mark.parametrize("failure", [LOST, TimeoutError("timed out"), ConnectionError("not a reply")])
def test_a_write_whose_reply_is_lost_is_not_sent_again(cluster, failure):
    """It may have been executed."""
    client = cluster.client("K1", repeatable=reads)
    cluster["K1"].answers = [failure]
    with pytest.raises(OutcomeUnknown, match="may or may not have been executed") as unknown:
        client.call(SET)
    assert unknown.value.status == 4
    assert [len(node.received) for node in cluster.nodes] == [1, 0, 0]
    assert client.call(GET) == "OK"


def test_a_read_whose_reply_is_lost_is_sent_again(cluster):
    client = cluster.client("K1", repeatable=reads)
    cluster["K1"].answers = [LOST]
    assert client.call(GET) == "OK"
    assert [node.received for node in cluster.nodes] == [[tuple(GET)], [tuple(GET)], []]


@pytest.mark.parametrize(("wait", "attempts"), [(30.0, 1), (0.0, 2)])
def test_a_command_for_which_a_node_has_waited_long_is_not_tried_again(wait, attempts, cluster):
    """It waits for a leader itself: several times half a minute would be silence."""
    client, answer = cluster.client("K1"), cluster["K1"].answer
    tried: list[float] = []

    def late(words):
        if words[1] != b"REMOVE":
            return answer(words)
        cluster.now += wait
        tried.append(cluster.now)
        return NO_LEADER if wait or len(tried) == 1 else "OK"

    for node in cluster.nodes:
        node.answer = late
    reply = client.call([b"KRAFT", b"REMOVE", b"K3"])
    assert len(tried) == attempts
    assert reply == (NO_LEADER if wait else "OK")


def test_a_reply_that_promises_that_nothing_was_done_leads_to_another_attempt(cluster):
    """During an election: CLUSTERDOWN, until there is a leader."""
    client = cluster.client("K1", "K2", "K3")
    cluster.leader = ""
    for node in cluster.nodes:
        node.answers = [NO_LEADER]

    def elect():
        cluster.leader = "K3"

    cluster.asleep = elect
    assert client.call(SET) == "OK"
    assert len(cluster["K3"].received) <= 2
    assert "No leader for group 0; trying again" in cluster.reports[0]


def test_without_a_majority_the_reply_is_returned_in_the_end(cluster):
    """After twice the timeout, in pauses that do not press the nodes."""
    client = cluster.client("K1", timeout=4.0)
    cluster.leader = ""
    for node in cluster.nodes:
        node.answers = [NO_LEADER] * 100
    assert client.call(SET) == NO_LEADER
    assert 6.5 < cluster.now <= 8.0
    assert sum(len(node.received) for node in cluster.nodes) < 15


@pytest.mark.parametrize(
    "text", ["UNCERTAIN write may or may not be applied", "BUSY", "ERR syntax error", "OOM"]
)
def test_other_errors_are_replies(cluster, text):
    client = cluster.client("K1")
    cluster["K1"].answers = [Error(text)]
    assert client.call(SET) == Error(text)
    assert len(cluster["K1"].received) == 1


def test_a_cluster_that_never_answered_gets_one_attempt(cluster):
    """The addresses are probably wrong, and each is named."""
    for node in cluster.nodes:
        node.up = False
    with pytest.raises(NoServer) as failure:
        cluster.client("K1", "K2").call(SET)
    assert str(failure.value) == (
        "no node answers: K1 127.0.0.1:10011: Connection refused; K2 127.0.0.1:10012: Connection refused"
    )
    assert cluster.now == 0


def test_a_cluster_that_answered_is_waited_for(cluster):
    """As in a restart of all nodes."""
    client = cluster.client("K1")
    client.call(SET)
    for node in cluster.nodes:
        node.up = False

    def start():
        cluster["K2"].up = cluster.now > 3

    cluster.asleep = start
    assert client.call(SET) == "OK"
    assert 3 < cluster.now < 5


def test_a_cluster_that_stays_away_is_given_up(cluster):
    client = cluster.client("K1", timeout=4.0)
    client.call(SET)
    for node in cluster.nodes:
        node.up = False
    with pytest.raises(NoServer):
        client.call(SET)
    assert cluster.now <= 8


@pytest.mark.parametrize(
    ("words", "kept"),
    [
        ([b"READONLY"], True),
        ([b"kraft", b"consistency", b"stale"], True),
        ([b"CLIENT", b"SETNAME", b"me"], True),
        ([b"client", b"id"], False),
        (SET, False),
    ],
)
def test_choices_are_made_again_on_a_new_connection(cluster, words, kept):
    client = cluster.client("K1", repeatable=reads)
    client.call(words)
    cluster["K1"].up, cluster.leader = False, "K2"
    client.call(GET)
    assert cluster["K2"].received == ([tuple(words), tuple(GET)] if kept else [tuple(GET)])


def test_a_later_choice_replaces_the_earlier_one_and_reset_all(cluster):
    client = cluster.client("K1", repeatable=reads)
    for words in ([b"READONLY"], [b"READWRITE"], [b"CLIENT", b"SETNAME", b"me"]):
        client.call(words)
    cluster["K1"].up, cluster.leader = False, "K2"
    client.call(GET)
    assert cluster["K2"].received[:-1] == [(b"READWRITE",), (b"CLIENT", b"SETNAME", b"me")]
    client.call([b"RESET"])
    cluster["K2"].up, cluster.leader = False, "K3"
    client.call(GET)
    assert cluster["K3"].received == [tuple(GET)]


def test_a_transaction_is_not_continued_on_another_connection(cluster):
    """What was queued is gone, so the next command must not be executed by itself."""
    client = cluster.client("K1")
    client.call([b"MULTI"])
    assert client.in_transaction
    cluster["K1"].up, cluster.leader = False, "K2"
    with pytest.raises(TransactionLost, match="nothing of it was executed: begin again with MULTI"):
        client.call(SET)
    assert cluster["K2"].received == []
    assert not client.in_transaction
    assert client.call(SET) == "OK"


def test_a_watch_that_is_lost_is_told_before_multi(cluster):
    """The transaction would otherwise run without its guard."""
    client = cluster.client("K1")
    client.call([b"WATCH", b"a"])
    cluster["K1"].up, cluster.leader = False, "K2"
    with pytest.raises(TransactionLost, match="begin again with WATCH"):
        client.call([b"MULTI"])
    assert cluster["K2"].received == []


def test_an_exec_whose_reply_is_lost_is_unknown(cluster):
    client = cluster.client("K1")
    client.call([b"MULTI"])
    cluster["K1"].answers = ["QUEUED", LOST]
    client.call(SET)
    with pytest.raises(OutcomeUnknown):
        client.call([b"EXEC"])


def test_nothing_is_retried_inside_a_transaction(cluster):
    """Another connection would not know of it."""
    client = cluster.client("K1")
    client.call([b"MULTI"])
    cluster["K1"].answers = [NO_LEADER]
    assert client.call(SET) == NO_LEADER
    assert client.in_transaction


def test_an_interrupt_closes_the_connection(cluster):
    """Its late reply must not be taken for that of the next command."""
    client = cluster.client("K1")
    cluster["K1"].answers = [KeyboardInterrupt()]
    with pytest.raises(KeyboardInterrupt):
        client.call(GET)
    assert cluster.connections[-1].closed
    assert client.call(GET) == "OK"


def test_a_server_that_is_no_kraft_node_is_used_as_it_is(cluster):
    """A plain Redis knows no KRAFT commands."""
    node = cluster["K1"]
    node.answer = lambda words: Error("ERR unknown command") if words[0] == b"KRAFT" else "PONG"
    client = cluster.client("K1")
    assert client.call([b"PING"]) == "PONG"
    assert client.leader == ""
