"""The Java launcher's options."""

import pytest

from kraft.config import ConfigError, LauncherOptions, from_options
from kraft.config.values import ClusterConfig

GROUP = "K1,127.0.0.1,10001 K2,127.0.0.1,10002 K3,127.0.0.1,10003"


def paths(**options: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        from_options(LauncherOptions(**options))
    return [problem.path for problem in caught.value.problems]


def test_a_group_member_takes_its_own_address_from_the_group() -> None:
    config = from_options(
        LauncherOptions(id="K2", mode="group-member", group_config=GROUP, service_port="10012")
    )

    assert config.cluster.members == {
        "K1": "127.0.0.1:10001",
        "K2": "127.0.0.1:10002",
        "K3": "127.0.0.1:10003",
    }
    assert config.peer.listen == "tcp:10002:interface=127.0.0.1"
    assert config.peer.advertise == "127.0.0.1:10002"
    assert config.client.listen == "tcp:10012:interface=127.0.0.1"
    assert config.http.advertise == "127.0.0.1:10022"
    assert config.node.data == "./kraft-data/K2"


def test_standalone_has_host_and_port_of_its_own() -> None:
    config = from_options(LauncherOptions(id="K1", host="localhost", raft_rpc_port="9001", data_dir="/srv/k"))

    assert config.cluster.members == {}
    assert (config.peer.listen, config.peer.advertise) == ("tcp:9001:interface=127.0.0.1", "localhost:9001")
    assert config.node.data == "/srv/k"


def test_ipv6_loopback_listens_with_an_escaped_interface() -> None:
    config = from_options(LauncherOptions(id="K1", mode="group-member", group_config="K1,::1,9001"))

    assert config.peer.listen == r"tcp6:9001:interface=\:\:1"
    assert config.peer.advertise == "[::1]:9001"


def test_standby_waits_at_an_address_of_its_own() -> None:
    config = from_options(LauncherOptions(id="K4", mode="standby", host="127.0.0.1", raft_rpc_port="10004"))

    assert config.cluster == ClusterConfig(standby=True)
    assert (config.peer.listen, config.peer.advertise) == (
        "tcp:10004:interface=127.0.0.1",
        "127.0.0.1:10004",
    )
    assert from_options(LauncherOptions(id="K4", mode="standby")).peer.advertise == "127.0.0.1:10001"
    assert not from_options(LauncherOptions(id="K4")).cluster.standby


def test_standby_belongs_to_no_group() -> None:
    assert paths(id="K4", mode="standby", group_config=GROUP) == ["--group-config"]
    with pytest.raises(ConfigError, match="use --config"):
        from_options(LauncherOptions(id="K4", mode="standby", host="10.0.0.4"))


def test_everything_wrong_comes_at_once() -> None:
    assert paths(mode="group-member", group_config="K1,h", service_port="65530", host="h") == [
        "--id",
        "--host",
        "--group-config",
        "--service-port",
    ]
    assert paths(id="K1", mode="primary") == ["--mode"]
    assert paths(id="K9", mode="group-member", group_config=GROUP) == ["--id"]
    assert paths(id="K1", mode="group-member") == ["--group-config"]
    assert paths(id="K1", group_config=GROUP, raft_rpc_port="x") == ["--group-config", "--raft-rpc-port"]
    assert paths(id="K1", mode="group-member", group_config="K1,127.0.0.1,1 K1,127.0.0.1,2") == [
        "--group-config"
    ]


def test_wider_than_one_machine_needs_a_file() -> None:
    with pytest.raises(ConfigError, match="use --config"):
        from_options(LauncherOptions(id="K1", host="10.0.0.1"))
    assert paths(id="K1", mode="group-member", group_config="K1,127.0.0.1,1 K2,10.0.0.2,1") == [
        "cluster.secret_file"
    ]
