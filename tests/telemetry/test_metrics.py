"""A scrape of a whole node: from what the observers were told and what the status says."""

import io
from collections.abc import Iterator
from dataclasses import replace

import pytest
import structlog
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from kraft.config import LogConfig
from kraft.node.status import ElsewhereStatus
from kraft.telemetry.logs import LogSink, configure
from kraft.telemetry.metrics.declarations import PREFIX, Counter, Histogram
from kraft.telemetry.metrics.exposition import SAMPLES_MAX, expose, exposition_type
from kraft.telemetry.metrics.registry import DECLARATIONS, KnownLabels, LastSnapshot, MetricsRegistry
from tests.telemetry.clients import Clients, Command, Counts
from tests.telemetry.scrapes import (
    GROUP,
    REPLICA,
    STATUS,
    Broken,
    Disk,
    Errors,
    Node,
    StatusOf,
    Storage,
    exposed,
    member,
)


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    configure(LogConfig("critical", "json"), stream=io.StringIO())
    yield
    structlog.reset_defaults()


def test_a_fresh_node_shows_known_combinations_as_zero() -> None:
    found = Node().scrape()

    assert found["raft_proposals_total{group=0,outcome=uncertain}"] == 0
    assert found["commands_total{command=get,outcome=error}"] == 0
    assert found["peer_connected{peer=K2}"] == 0
    assert found["storage_errors_total{operation=commit}"] == 0
    assert found["backpressure_active"] == 0
    assert found["client_connections{protocol=resp3}"] == 0
    assert found["command_duration_seconds_count{class=write}"] == 0
    assert found["raft_elections_total{group=0,kind=transfer,outcome=won}"] == 0
    assert found["peer_send_failures_total{peer=K2,reason=queue_full}"] == 0
    assert found["config_reloads_total{outcome=refused}"] == 0


def test_status_is_read_at_the_scrape() -> None:
    node = Node()
    node.metrics.sources.node = StatusOf(STATUS)

    found = node.scrape()

    assert found["node_info{cluster_id=c,node_id=K1}"] == 1
    assert found["raft_is_leader{group=0}"] == 1
    assert found["raft_state{group=0,state=leader}"] == 1
    assert found["raft_state{group=0,state=follower}"] == 0
    assert found["raft_leader_term_info{group=0,term=7}"] == 1
    assert found["raft_applied_index{group=0}"] == 8
    assert found["log_entries{group=0}"] == 9
    assert found["raft_members{group=0,role=voter}"] == 2
    assert found["raft_follower_lag_entries{group=0,peer=K2}"] == 1
    assert found["raft_peer_last_contact_timestamp_seconds{group=0,peer=K2}"] == 99.5
    assert found["peer_clock_offset_seconds{peer=K2}"] == -0.25
    assert found["keys_expired_total{group=0}"] == 5
    assert found["dataset_bytes"] == 300
    assert found["raft_proposals_pending_bytes{group=0}"] == 40
    assert found["raft_oldest_log_timestamp_seconds{group=0}"] == 90.5
    assert found["peer_inflight_messages{peer=K2}"] == 3
    assert found["snapshot_last_index{group=0}"] == 6
    assert found["disk_full"] == 0


def test_a_lag_that_the_leader_does_not_know_is_not_exposed() -> None:
    """A node that is down since before the election would seem to lack the whole log."""
    node = Node()
    unheard = replace(REPLICA, state="probe", match_index=0, lag_entries=9)
    node.metrics.sources.node = StatusOf(replace(STATUS, groups=(replace(GROUP, replicas=(unheard,)),)))
    found = node.scrape()
    assert "raft_follower_lag_entries{group=0,peer=K2}" not in found
    assert found["raft_peer_last_contact_timestamp_seconds{group=0,peer=K2}"] == 99.5


def test_groups_are_counted_by_state() -> None:
    """Each group once; the leader of a group says whether a voter has no link or needs a snapshot."""
    node = Node()
    whole = replace(GROUP, voters=("K1", "K2"))
    groups = (
        whole,
        replace(whole, group=1, voters=("K1", "K2", "K3")),
        replace(whole, group=2, replicas=(replace(REPLICA, state="snapshot"),)),
        replace(whole, group=3, role="follower", leader="K2", voters=("K1", "K2", "K3"), replicas=()),
        replace(whole, group=4, role="follower", leader="", replicas=()),
    )
    members = (replace(member("K1"), connected=True), replace(member("K2"), connected=True))
    node.metrics.sources.node = StatusOf(replace(STATUS, groups=groups, members=members))

    found = node.scrape()

    assert found["groups{state=active}"] == 2
    assert found["groups{state=under_replicated}"] == 2
    assert found["groups{state=leaderless}"] == 1
    assert found["group_leaders"] == 3


def test_groups_at_risk_have_just_a_majority_left() -> None:
    """Voters without a link count as lost. A group of two that has both, or one that is led elsewhere, is not
    at risk; nor is one that loses one of five."""
    node = Node()
    led = [replace(GROUP, group=id_, replicas=()) for id_ in range(6)]
    voters = (
        ("K1", "K2", "K3"), ("K1", "K2"), ("K1", "K2", "K3", "K4", "K5"), ("K1", "K2", "K4"),
        ("K1", "K3", "K9"),
    )  # fmt: skip
    groups = [replace(each, voters=ids) for each, ids in zip(led, voters, strict=False)]
    groups.append(replace(led[5], voters=("K1", "K2"), target_voters=("K1", "K2", "K9"), joint=True))
    groups.append(replace(groups[0], group=6, role="follower", leader="K2"))
    members = tuple(
        replace(member(id_), connected=id_ in ("K1", "K2", "K4", "K5"))
        for id_ in ("K1", "K2", "K3", "K4", "K5")
    )
    node.metrics.sources.node = StatusOf(replace(STATUS, groups=tuple(groups), members=members))

    assert node.scrape()["groups_at_risk"] == 3  # 0, 4 and 5, which changes its voters


def test_groups_without_a_replica_are_served_or_have_no_leader() -> None:
    """One that nobody has told of has none either."""
    node = Node()
    members = (replace(member("K1"), connected=True), replace(member("K2"), connected=True), member("K3"))
    elsewhere = tuple(
        ElsewhereStatus(id_, leader, 7, ("K2", "K3"), ("K2", "K3")) for id_, leader in ((1, "K2"), (2, "K3"))
    )
    node.metrics.sources.node = StatusOf(replace(STATUS, members=members, elsewhere=elsewhere, group_count=4))

    found = node.scrape()

    assert found["absent_groups{state=served}"] == 1
    assert found["absent_groups{state=leaderless}"] == 2


@pytest.mark.parametrize("state", ["standby", "forming", "starting", "removed", "refused", "stopping"])
def test_a_node_that_loads_its_groups_or_has_no_cluster_lacks_none(state: str) -> None:
    """No alert is to say that groups have no leader."""
    node = Node()
    status = replace(STATUS, state=state, groups=(), members=(), group_count=4)
    node.metrics.sources.node = StatusOf(status)
    found = node.scrape()
    assert found["absent_groups{state=leaderless}"] == found["absent_groups{state=served}"] == 0


@pytest.mark.parametrize(("number", "label"), [(64, "63"), (65, "all")])
def test_above_64_groups_their_series_become_one(number: int, label: str) -> None:
    node = Node()
    groups = tuple(replace(GROUP, group=id_, keys=id_) for id_ in range(number))
    node.metrics.sources.node = StatusOf(replace(STATUS, groups=groups))
    for id_ in range(number):
        node.host.proposal(id_, "committed", 2)
        node.host.applied(id_, 0.25)

    found = node.scrape()

    labels = {name.partition("group=")[2].split(",")[0].rstrip("}") for name in found if "{group=" in name}
    every = sum(range(number))
    assert labels == ({"all"} if label == "all" else {str(id_) for id_ in range(number)})
    assert found[f"keys{{group={label}}}"] == (every if label == "all" else 63)
    assert found[f"raft_proposals_total{{group={label},outcome=committed}}"] == (
        2 * number if label == "all" else 2
    )
    assert found[f"raft_apply_duration_seconds_count{{group={label}}}"] == (number if label == "all" else 1)
    assert found[f"raft_term{{group={label}}}"] == 7


def test_all_groups_have_a_leader_only_if_each_has_one() -> None:
    node = Node()
    groups = tuple(replace(GROUP, group=id_, leader="" if id_ == 40 else "K1") for id_ in range(100))
    node.metrics.sources.node = StatusOf(replace(STATUS, groups=groups))

    found = node.scrape()

    assert found["raft_has_leader{group=all}"] == 0
    assert found["raft_is_leader{group=all}"] == 1
    assert not any(name.startswith("raft_leader_term_info") for name in found)


def test_several_groups_that_are_led_share_one_clock() -> None:
    """A series that comes twice in a scrape makes Prometheus drop the whole scrape."""
    node = Node()
    node.metrics.sources.node = StatusOf(replace(STATUS, groups=(GROUP, replace(GROUP, group=1))))

    text = exposed(node.metrics)[1].decode()

    series = [line.rpartition(" ")[0] for line in text.splitlines() if not line.startswith("#")]
    assert len(series) == len(set(series))


def test_a_log_that_was_never_cut_has_no_oldest_time() -> None:
    """1970 would look like an age."""
    node = Node()
    node.metrics.sources.node = StatusOf(replace(STATUS, groups=(replace(GROUP, oldest_stamp_ms=0),)))

    assert not any(name.startswith("raft_oldest") for name in node.scrape())


def test_nobody_misses_the_link_to_a_member_that_was_removed() -> None:
    """Links are those of the members of today; before there are any, of those in the configuration."""
    node = Node()
    node.transport.connected("K2")
    node.transport.connected("K3")
    node.transport.disconnected("K2", "removed")
    node.metrics.sources.node = StatusOf(STATUS)
    assert node.scrape()["peer_connected{peer=K2}"] == 0

    members = (member("K1"), member("K3"), member("K4"))
    node.metrics.sources.node = StatusOf(replace(STATUS, members=members))

    found = node.scrape()
    links = {name: value for name, value in found.items() if name.startswith("peer_connected")}
    assert links == {"peer_connected{peer=K3}": 1, "peer_connected{peer=K4}": 0}


def test_the_client_port_and_the_threads_are_asked_at_the_scrape() -> None:
    node = Node()
    node.metrics.sources.clients = Clients()
    node.metrics.sources.storage = Storage()

    found = node.scrape()

    assert found["dataset_quota_bytes"] == 1000
    assert found["client_output_buffer_bytes"] == 70
    assert found["thread_queue_length{pool=writer}"] == 4


def test_a_configuration_that_is_read_again_counts_when_it_holds() -> None:
    """The start counts as the first time."""
    node = Node()
    node.now = 200.0
    node.metrics.reloaded("refused")
    assert node.scrape()["config_last_reload_success_timestamp_seconds"] == 100

    node.metrics.reloaded("done")

    found = node.scrape()
    assert found["config_last_reload_success_timestamp_seconds"] == 200
    assert found["config_reloads_total{outcome=done}"] == 1
    assert found["config_reloads_total{outcome=refused}"] == 1


def test_a_follower_shows_no_leader_term() -> None:
    node = Node()
    follower = replace(GROUP, role="follower", leader="", replicas=())
    node.metrics.sources.node = StatusOf(replace(STATUS, groups=(follower,)))

    found = node.scrape()

    assert not any(name.startswith("raft_leader_term_info") for name in found)
    assert found["raft_has_leader{group=0}"] == 0


def test_a_source_that_fails_is_told_and_blanks_nothing_else() -> None:
    node = Node()
    errors = node.metrics.sources.errors = Errors()
    node.metrics.sources.node = Broken()
    node.metrics.sources.disk = Disk(77)

    found = node.scrape()

    assert found["disk_free_bytes"] == 77
    assert errors.told == [("status", ZeroDivisionError)]


def test_sizes_of_storage() -> None:
    node = Node()
    node.metrics.sources.storage = Storage({"log": 10, "wal": 5})

    assert node.scrape()["storage_size_bytes{kind=wal}"] == 5


def test_a_new_leader_or_term_is_one_change() -> None:
    node = Node()
    for role, term, leader in [
        ("follower", 1, ""),
        ("follower", 1, "K2"),
        ("follower", 1, "K2"),
        ("candidate", 2, ""),
        ("leader", 2, "K1"),
    ]:
        node.raft.role_changed(0, role, term, leader)
    node.raft.election_ended(0, "vote", "won")

    found = node.scrape()

    assert found["raft_leader_changes_total{group=0}"] == 2
    assert found["raft_elections_total{group=0,kind=vote,outcome=won}"] == 1


def test_the_host_tells_of_writes_and_reads() -> None:
    node = Node()
    node.host.committed(0, 0.002, 3)
    node.host.proposal(0, "uncertain", 2)
    node.host.applied(0, 0.001)
    node.host.read(0, "read_index", "served", 0.001)
    node.host.read(0, "read_index", "refused", 0.0)
    node.host.forwarded("done", 4)
    node.host.event("disk_full", where="here")

    found = node.scrape()

    assert found["raft_proposals_total{group=0,outcome=committed}"] == 3
    assert found["raft_proposals_total{group=0,outcome=uncertain}"] == 2
    assert found["raft_commit_duration_seconds_count{group=0}"] == 1
    assert found["raft_commit_duration_seconds_bucket{group=0,le=0.002}"] == 1
    assert found["raft_read_index_duration_seconds_count{group=0}"] == 1
    assert found["raft_reads_total{group=0,kind=read_index,outcome=refused}"] == 1
    assert found["commands_forwarded_total{outcome=done}"] == 4


def test_the_host_tells_of_snapshots() -> None:
    node = Node()
    assert node.scrape()["snapshot_transfers_total{direction=receive,group=0,outcome=failed}"] == 0

    node.host.snapshot_transfer(0, "send", "done", 1000, 2.0)
    node.host.snapshot_transfer(0, "send", "failed", 24, 0.5)
    found = node.scrape()

    assert found["snapshot_transfers_total{direction=send,group=0,outcome=done}"] == 1
    assert found["snapshot_transfers_total{direction=send,group=0,outcome=failed}"] == 1
    assert found["snapshot_transfer_bytes_total{direction=send,group=0}"] == 1024


def test_a_transaction_without_entries_is_no_batch() -> None:
    node = Node()
    node.storage.committed(0.004, 0, 0)
    node.storage.committed(0.004, 16, 2048)
    node.storage.wal_checkpointed(0.05)
    node.storage.error("commit")

    found = node.scrape()

    assert found["log_fsync_duration_seconds_count"] == 2
    assert found["log_batch_entries_count"] == 1
    assert found["log_append_bytes_total"] == 2048
    assert found["log_checkpoint_duration_seconds_count"] == 1
    assert found["storage_errors_total{operation=commit}"] == 1


def test_storage_tells_of_checkpoints_of_the_keyspace() -> None:
    node = Node()
    node.storage.checkpoint_written(0, 1.5, 20, 700, 4096)
    node.storage.checkpoint_failed(0)
    node.storage.checkpoint_loaded(0, 0.25)

    found = node.scrape()

    assert found["snapshots_total{group=0,outcome=done}"] == 1
    assert found["snapshots_total{group=0,outcome=failed}"] == 1
    assert found["snapshot_duration_seconds_sum{group=0}"] == 1.5
    assert found["snapshot_last_success_timestamp_seconds{group=0}"] == 100
    assert found["snapshot_size_bytes{group=0}"] == 4096
    assert found["snapshot_restore_last_duration_seconds{group=0}"] == 0.25


def test_links_come_and_go() -> None:
    node = Node()
    node.transport.connected("K2")
    sent, received = node.transport.traffic("K2")
    sent.number += 10
    received.number += 20
    node.transport.round_trip("K2", 0.003)
    assert node.scrape()["peer_connected{peer=K2}"] == 1

    node.transport.disconnected("K2", "closed")
    node.transport.unreachable("K2", "refused", 2)
    node.transport.refused("10.0.0.9", "no secret")
    node.transport.dropped("K2", "no_link")

    found = node.scrape()
    assert found["peer_connected{peer=K2}"] == 0
    assert found["peer_connects_total{peer=K2}"] == 1
    assert (found["peer_sent_bytes_total{peer=K2}"], found["peer_received_bytes_total{peer=K2}"]) == (10, 20)
    assert found["peer_round_trip_seconds_count{peer=K2}"] == 1
    assert found["peer_refused_total"] == 1
    assert found["peer_send_failures_total{peer=K2,reason=no_link}"] == 1


def test_the_client_port_tells_of_connections() -> None:
    node = Node()
    node.server.connection_opened("resp2")
    node.server.connection_switched("resp2", "resp3")
    node.server.connection_opened("resp2")
    node.server.connection_closed("resp2")
    node.server.paused(1)
    node.server.rejected("max_clients")
    node.server.script_stopped("time")

    found = node.scrape()

    assert found["client_connections{protocol=resp2}"] == 0
    assert found["client_connections{protocol=resp3}"] == 1
    assert found["client_connections_opened_total{protocol=resp2}"] == 2
    assert found["backpressure_active"] == 1
    assert found["client_rejected_total{reason=max_clients}"] == 1
    assert found["scripts_stopped_total{limit=time}"] == 1


def test_what_the_client_port_counted_of_requests_is_read_at_the_scrape() -> None:
    node = Node()
    get, lpush = Command("read", failed=1), Command("local", rejected=2)
    get.latencies.add(0.01, 5)
    lpush.latencies.add(0.0001, 2)
    errors = {"MOVED": 3, "NEWCODE": 1}
    counts = Counts({"get": get, "lpush": lpush}, errors, bytes_received=7, bytes_sent=8, hits=3, misses=1)
    node.metrics.sources.clients = Clients(statistics=counts)

    found = node.scrape()

    assert found["commands_total{command=get,outcome=ok}"] == 4
    assert found["commands_total{command=get,outcome=error}"] == 1
    assert found["commands_total{command=other,outcome=error}"] == 2
    assert found["command_duration_seconds_count{class=read}"] == 5
    assert found["command_duration_seconds_sum{class=read}"] == 0.05
    assert found["command_duration_seconds_bucket{class=read,le=0.008}"] == 0
    assert found["command_duration_seconds_bucket{class=read,le=0.016}"] == 5
    assert found["command_duration_seconds_count{class=local}"] == 2
    assert found["command_errors_total{code=MOVED}"] == 3
    assert found["client_redirects_total{kind=moved}"] == 3
    assert found["command_errors_total{code=other}"] == 1
    assert (found["client_received_bytes_total"], found["client_sent_bytes_total"]) == (7, 8)
    assert (found["keyspace_hits_total"], found["keyspace_misses_total"]) == (3, 1)


def test_names_keep_the_conventions() -> None:
    names = [declaration.name for declaration in DECLARATIONS]

    assert len(set(names)) == len(names)
    for declaration in DECLARATIONS:
        assert declaration.name.endswith("_total") == isinstance(declaration, Counter)
        assert declaration.meaning.endswith(".")
        if isinstance(declaration, Histogram):
            assert declaration.name.endswith(("_seconds", "_entries"))


def test_every_declared_metric_appears_in_a_scrape() -> None:
    node = Node()
    node.metrics.sources.node = StatusOf(STATUS)
    node.metrics.sources.clients = Clients()
    node.metrics.sources.storage = Storage()
    node.metrics.sources.disk = Disk(1)
    node.metrics.sources.log = LogSink(None)
    node.metrics.memory_limit = 1
    node.metrics.tls_expiry = {"ca": 1.0}
    node.transport.dropped("K2", "no_link")
    node.storage.checkpoint_written(0, 1.0, 1, 1, 1)
    node.storage.checkpoint_loaded(0, 1.0)
    node.metrics.last_backup = LastSnapshot(1.0, 1)
    node.metrics.shipped["0"] = (1, 1.0)

    families = {family.name for family in parse_text(exposed(node.metrics)[1].decode()) if family.samples}

    assert {PREFIX + declaration.name.removesuffix("_total") for declaration in DECLARATIONS} <= families
    assert {"process_cpu_seconds", "python_gc_collections"} <= families


@pytest.mark.parametrize(
    "accept",
    [
        "application/openmetrics-text; version=1.0.0,text/plain;q=0.5",
        "application/openmetrics-text; version=x",
    ],
)
def test_openmetrics_is_valid_and_given_when_asked_for(accept: str) -> None:
    node = Node()
    node.metrics.sources.node = StatusOf(STATUS)

    content_type, body = exposed(node.metrics, accept)

    assert content_type.startswith("application/openmetrics-text")
    assert body.endswith(b"# EOF\n")
    assert len(list(parse_openmetrics(body.decode()))) > 40


def test_the_pieces_are_what_the_library_writes_at_once() -> None:
    """A family of many samples is cut, and described once."""
    metrics = MetricsRegistry(KnownLabels(commands=[f"c{n}" for n in range(150)]), wall_seconds=lambda: 1.0)
    registry = CollectorRegistry()
    registry.register(metrics)

    for accept, whole in (("", generate_latest), ("application/openmetrics-text", generate_openmetrics)):
        pieces = list(expose(registry, exposition_type(accept)))
        assert b"".join(pieces) == whole(registry)
        assert max(piece.count(b"\n") for piece in pieces) <= SAMPLES_MAX + 2


@pytest.mark.parametrize(
    "accept", ["", "*/*", "text/plain;version=\x00", "text/html, ,;;=", "text/plain;q=\xe9"]
)
def test_anything_else_gets_the_text_form(accept: str) -> None:
    assert exposed(Node().metrics, accept)[0].startswith("text/plain; version=0.0.4")
