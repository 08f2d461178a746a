"""Addresses that follow from one another, and rules between options."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.endpoints import serverFromString
from twisted.internet.protocol import Factory
from twisted.internet.testing import MemoryReactor

from kraft.config import ConfigError, LauncherOptions, from_options, parse, stays_on_this_machine
from kraft.config.kinds import Duration, format_duration
from kraft.listen_address import BACKLOG, split_address, split_endpoint

NODE = "node: {id: K1, data: d}\n"


def paths(text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        parse(NODE + text, "k.yaml")
    return [problem.path for problem in caught.value.problems]


def told(text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        parse(NODE + text, "k.yaml")
    return str(caught.value)


def test_an_advertised_address_follows_from_the_endpoint() -> None:
    config = parse(
        NODE
        + "client: {listen: 'tcp:7000:interface=127.0.0.5'}\nhttp: {listen: 'tcp:0:interface=127.0.0.1'}\n",
        "k",
    )

    assert config.client.advertise == "127.0.0.5:7000"
    assert config.http.advertise == "127.0.0.1:0"


def test_the_own_peer_address_follows_from_the_members() -> None:
    text = "cluster: {members: {K1: 'localhost:7001'}}\npeer: {listen: 'tcp:7001:interface=127.0.0.1'}\n"

    assert parse(NODE + text, "k").peer.advertise == "localhost:7001"


@pytest.mark.parametrize(
    "listen",
    ["tcp:7000", "tcp:7000:interface=0.0.0.0", r"tcp6:7000:interface=\:\:", "unix:/run/k", "tcp6:7000"],
)
def test_where_it_does_not_follow_it_is_asked_for(listen: str) -> None:
    assert paths(f"client: {{listen: '{listen}'}}\n") == ["client.advertise"]


def test_http_may_be_off_or_without_an_address_to_dial() -> None:
    assert parse(NODE + "http: {listen: ''}\n", "k").http.listen == ""
    assert parse(NODE + "http: {listen: 'unix:/run/k'}\n", "k").http.advertise == ""


@pytest.mark.parametrize(
    "listen",
    ["", "10011", "tpc:1", "tcp", "tcp:", "tcp:x", "tcp:65536", "tcp:1:interface=here", "unix:",
     "systemd:domain=INET", "systemd:name=a", "systemd:domain=INET:name=a:index=0", "http://x",
     "ssl:1", "tls:1", "fd:3", "stdio:", "haproxy:tcp:1", "nosuch:1", "tcp:port=abc", "tcp:1:backlog=0",
     "tcp:1:backlog=x", "tcp:1:127.0.0.1", "tcp:1:interface=::1", "tcp:1:inteface=127.0.0.1", "tcp:1:port=2",
     "tcp6:1:interface=127.0.0.1", "tcp:1:interface=db.example", "unix:/a:mode=rw", "unix:/a:mode=999",
     "unix:" + 108 * "a", "unix:/a:interface=127.0.0.1", "systemd:domain=IPX:name=a", "unix:/a\\",
     "systemd:domain=INET:index=-1", " tcp:1", "TCP:1"],
)  # fmt: skip
def test_endpoints_are_checked_for_plausibility(listen: str) -> None:
    assert paths(f"client: {{listen: '{listen}', advertise: 'h:1'}}\n") == ["client.listen"]


@pytest.mark.parametrize(
    "listen",
    ["tcp:1", "tcp:port=1:interface=127.0.0.1", r"tcp6:1:interface=\:\:1", "tcp:0",
     "tcp:1:interface=localhost",
     r"tcp:1:interface=\:\:1", "unix:address=/a:lockfile=0", "unix:" + 107 * "a", "systemd:INET:name=c",
     "unix:/a:mode=660", "systemd:domain=INET:name=client", "systemd:domain=INET6:index=0"],
)  # fmt: skip
def test_plausible_endpoints_pass(listen: str) -> None:
    assert parse(NODE + f"client: {{listen: '{listen}', advertise: 'h:1'}}\n", "k").client.listen == listen


@pytest.mark.parametrize("listen", ["", "tcp:7777", r"tcp6:7777:interface=\:\:1"])
def test_a_shared_port_has_a_number(listen: str) -> None:
    assert parse(NODE + f"client: {{shared_listen: '{listen}'}}\n", "k").client.shared_listen == listen


@pytest.mark.parametrize("listen", ["tcp:0", "unix:/a", "systemd:domain=INET:name=c", "tcp:10011"])
def test_a_shared_port_is_one_that_other_nodes_can_name(listen: str) -> None:
    assert paths(f"client: {{shared_listen: '{listen}'}}\n") == ["client.shared_listen"]


@pytest.mark.parametrize(
    "address",
    ["h", "h:", ":1", "h:0", "h:65536", "::1:5", "[h]:1", "[127.0.0.1]:1", "a b:1", "300.1.1.1:5", "-h:1"],
)
def test_addresses_are_host_and_port(address: str) -> None:
    assert paths(f"client: {{advertise: '{address}'}}\n") == ["client.advertise"]


@pytest.mark.parametrize("address", ["h:1", "a.b-c.d:65535", "127.0.0.1:1", "[::1]:1", "node_1:1"])
def test_good_addresses_pass(address: str) -> None:
    assert parse(NODE + f"client: {{advertise: '{address}'}}\n", "k").client.advertise == address


def test_the_node_is_one_of_the_members() -> None:
    assert "K1 is not in cluster.members; write one of K2, K3" in told(
        "cluster: {members: {K2: '127.0.0.1:1', K3: '127.0.0.1:2'}}\n"
    )


def test_the_own_address_is_the_same_everywhere() -> None:
    assert paths("cluster: {members: {K1: '127.0.0.1:1'}}\npeer: {advertise: '127.0.0.1:2'}\n") == [
        "peer.advertise"
    ]


def test_two_members_have_two_addresses() -> None:
    assert paths("cluster: {members: {K1: '127.0.0.1:1', K2: '127.0.0.1:1'}}\n") == ["cluster.members.K2"]


@pytest.mark.parametrize(
    "text",
    [
        "peer: {listen: 'tcp:1', advertise: '127.0.0.1:1'}",
        "peer: {listen: 'systemd:domain=INET:name=peer', advertise: '127.0.0.1:1'}",
        "peer: {advertise: '10.0.0.1:1'}",
        "cluster: {members: {K1: '127.0.0.1:1', K2: 'other:1'}}",
    ],
)
def test_peers_beyond_this_machine_need_a_secret(text: str) -> None:
    assert paths(text) == ["cluster.secret_file"]


def test_with_a_secret_the_members_may_be_anywhere() -> None:
    text = (
        "cluster: {secret_file: s, members: {K1: '10.0.0.1:1', K2: '[fd00::2]:1'}}\npeer: {listen: 'tcp:1'}\n"
    )

    config = parse(NODE + text, "k")

    assert not stays_on_this_machine(config)
    assert config.peer.advertise == "10.0.0.1:1"


def test_loopback_in_all_its_spellings_needs_no_secret() -> None:
    text = r"cluster: {members: {K1: '[::1]:1', K2: 'localhost:2', K3: '127.9.9.9:1'}}"
    config = parse(NODE + text + "\npeer: {listen: 'tcp6:1:interface=\\:\\:1'}\n", "k")

    assert stays_on_this_machine(config)


def test_an_election_waits_for_three_heartbeats() -> None:
    assert parse(NODE + "raft: {election_timeout: 300ms, heartbeat_interval: 100ms}\n", "k").raft
    assert (
        "raft.election_timeout: must be at least 3 times raft.heartbeat_interval (200ms); write 600ms or more"
        in told("raft: {heartbeat_interval: 200ms}\n")
    )


def test_a_script_ends_before_an_election() -> None:
    assert parse(NODE + "raft: {election_timeout: 1s}\nscripts: {time: 500ms}\n", "k").scripts.time == 0.5
    assert (
        "scripts.time: must be at most half of raft.election_timeout (500ms), because the leader sends no"
        " heartbeat while a script runs; write 250ms or less" in told("scripts: {time: 300ms}\n")
    )


def test_sizes_have_room_for_one_another() -> None:
    assert paths("limits: {value_bytes: 8388608}\n") == ["limits.request_bytes"]
    assert paths("raft: {uncommitted_bytes: 1048576}\n") == ["raft.uncommitted_bytes"]
    assert paths("limits: {peer_queue_bytes: 1048576}\n") == ["limits.peer_queue_bytes"]
    assert paths("raft: {inflight_bytes: 65536}\n") == ["raft.inflight_bytes"]


def test_a_chunk_of_a_snapshot_has_room() -> None:
    assert paths("snapshot: {chunk_bytes: 16777216}\nlimits: {peer_queue_bytes: 8388608}\n") == [
        "limits.peer_queue_bytes"
    ]
    assert paths("snapshot: {bytes_per_second: 65536, chunk_bytes: 131072}\n") == [
        "snapshot.bytes_per_second"
    ]
    assert parse(NODE + "snapshot: {bytes_per_second: 65536, chunk_bytes: 65536}\n", "k").snapshot
    assert parse(NODE + "snapshot: {bytes_per_second: 0}\n", "k").snapshot


def test_staleness_is_known_by_heartbeats() -> None:
    text = told("reads: {max_staleness: 150ms}\n")
    assert "reads.max_staleness: must be at least 2 times raft.heartbeat_interval, which" in text
    assert "write 200ms or more" in text
    assert parse(NODE + "reads: {max_staleness: 200ms}\n", "k").reads.max_staleness == 0.2


def test_a_standby_has_no_members() -> None:
    assert parse(NODE + "cluster: {standby: true}\n", "k").cluster.standby
    assert parse(NODE + "cluster: {standby: true, members: {}}\n", "k").cluster.standby
    assert parse(NODE + "cluster: {standby: false, members: {K1: '127.0.0.1:10001'}}\n", "k")
    assert paths("cluster: {standby: true, members: {K1: '127.0.0.1:10001'}}\n") == ["cluster.standby"]


def test_a_standby_beyond_this_machine_needs_a_secret() -> None:
    elsewhere = "peer: {listen: 'tcp:1:interface=10.0.0.4'}\n"
    assert paths("cluster: {standby: true}\n" + elsewhere) == ["cluster.secret_file"]
    config = parse(NODE + "cluster: {standby: true, secret_file: s}\n" + elsewhere, "k")
    assert config.peer.advertise == "10.0.0.4:1"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("tcp:1:interface=127.0.0.1", "tcp:port=1:interface=127.0.0.1:backlog=9"),
        ("tcp:1", "tcp:1:interface=10.0.0.1"),
        ("tcp6:1", "tcp:1:interface=10.0.0.1"),
        ("tcp:1:interface=localhost", "tcp:1:interface=127.0.0.1"),
        (r"tcp6:1:interface=\:\:1", r"tcp:1:interface=0\:0\:0\:0\:0\:0\:0\:1"),
        ("unix:/a", "unix:/x/../a:mode=600"),
        ("systemd:domain=INET:name=a", "systemd:domain=INET6:name=a"),
    ],
)
def test_one_endpoint_serves_one_purpose(one: str, other: str) -> None:
    text = f"client: {{listen: '{one}', advertise: 'h:1'}}\nhttp: {{listen: '{other}', advertise: 'h:2'}}\n"
    assert paths(text) == ["http.listen"]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("tcp:0", "tcp:0"),
        ("tcp:1", r"tcp6:1:interface=\:\:1"),
        ("tcp:1:interface=127.0.0.1", "tcp:1:interface=127.0.0.2"),
        ("unix:/a", "unix:/b"),
        ("systemd:domain=INET:name=a", "systemd:domain=INET:index=0"),
    ],
)
def test_endpoints_that_do_not_collide(one: str, other: str) -> None:
    assert not split_endpoint(one).collides(split_endpoint(other))


def test_tls_is_refused_with_what_to_do() -> None:
    for port in ("peer", "client", "http"):
        assert "write tcp:, and set the option tls of this port" in told(
            f"{port}: {{listen: 'ssl:1:privateKey=k', advertise: '127.0.0.1:1'}}\n"
        )


def test_a_colon_without_a_backslash_is_explained() -> None:
    text = "client: {listen: 'tcp:1:interface=::1', advertise: 'h:1'}\n"
    assert r"a colon inside a value as \:" in told(text)


def test_rules_are_silent_about_options_that_are_wrong_already() -> None:
    assert paths("raft: {election_timeout: x, heartbeat_interval: 5s}\n") == ["raft.election_timeout"]


@pytest.mark.parametrize(
    "listen",
    ["tcp:7000:interface=127.0.0.1", r"tcp6:7000:interface=\:\:1", r"unix:/run/a\:b:mode=660", "tcp:port=1",
     r"unix:/run/a\\b\=c:mode=0600", "tcp:1:backlog=7"],
)  # fmt: skip
def test_twisted_reads_endpoints_as_the_configuration_does(listen: str) -> None:
    ours = split_endpoint(listen)
    reactor = MemoryReactor()
    serverFromString(reactor, listen).listen(Factory())

    if ours.kind == "unix":
        assert [(server[0], server[3]) for server in reactor.unixServers] == [(ours.path, ours.mode)]
    else:
        port, _, backlog, interface = reactor.tcpServers[0]
        assert (port, interface) == (ours.port, ours.interface)
        assert ours.backlog in (backlog, BACKLOG)


@pytest.mark.parametrize(("host", "port"), [("127.0.0.1", "7000"), ("::1", "7000")])
def test_the_launchers_endpoints_are_read_back_by_twisted(host: str, port: str) -> None:
    config = from_options(LauncherOptions(id="K1", mode="group-member", group_config=f"K1,{host},{port}"))
    reactor = MemoryReactor()
    serverFromString(reactor, config.peer.listen).listen(Factory())

    assert reactor.tcpServers[0][0] == 7000
    assert reactor.tcpServers[0][3] == host


@given(st.text(max_size=30))
def test_any_text_is_an_endpoint_an_address_or_a_problem(text: str) -> None:
    for read in (split_endpoint, split_address):
        with contextlib.suppress(ValueError):
            read(text)


@given(st.floats(0.001, 600_000).map(lambda seconds: round(seconds, 3)))
def test_a_printed_duration_is_read_back(seconds: float) -> None:
    assert Duration(0, 1e6).convert(format_duration(seconds)) == pytest.approx(seconds, rel=1e-5)
