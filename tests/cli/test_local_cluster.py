"""The files of the demo: written once, read ever after, every one of them a valid configuration."""

import errno
import shutil
import socket
from pathlib import Path

import pytest

from kraft.cli import local_cluster
from kraft.cli.failure import Failure
from kraft.cli.local_cluster import create_standby, find, find_or_create, present
from kraft.config import load
from kraft.process.tls_files import read_tls
from kraft.tls.names import NodeName

PROBE = local_cluster.port_error


def test_a_new_cluster_has_the_documented_names_and_ports(tmp_path):
    """Node i: peer port P+i, client port P+10+i, HTTP port P+20+i, folder DIR/Ki."""
    nodes = find_or_create(tmp_path / "demo", None, None)
    assert [(node.id, node.peer_port, node.client_port, node.http_port) for node in nodes] == [
        ("K1", 10001, 10011, 10021),
        ("K2", 10002, 10012, 10022),
        ("K3", 10003, 10013, 10023),
    ]
    assert nodes[1].config == tmp_path / "demo" / "K2" / "kraft.yaml"
    assert nodes[1].pidfile == tmp_path / "demo" / "K2" / "twistd.pid"


@pytest.mark.parametrize("count", [1, 3, 9])
def test_the_files_are_valid_and_agree(tmp_path, count):
    """The strict loader takes them, and all list the same members."""
    nodes = find_or_create(tmp_path / "demo", count, 20_000)
    configs = [load(str(node.config)) for node in nodes]
    assert [config.node.id for config in configs] == [f"K{i}" for i in range(1, count + 1)]
    assert {tuple(config.cluster.members.items()) for config in configs} == {
        tuple((f"K{i}", f"127.0.0.1:{20_000 + i}") for i in range(1, count + 1))
    }
    assert configs[0].client.advertise == "127.0.0.1:20011"
    assert configs[0].http.advertise == "127.0.0.1:20021"
    assert configs[0].node.data == str(tmp_path / "demo" / "K1" / "data")


def test_a_later_run_finds_the_same_nodes(tmp_path):
    """Without options, and with the same ones."""
    made = find_or_create(tmp_path / "demo", 5, 20_000)
    assert find_or_create(tmp_path / "demo", None, None) == made
    assert find_or_create(tmp_path / "demo", 5, 20_000) == made


@pytest.mark.parametrize(
    ("count", "base_port", "option"), [(3, None, "--nodes 5"), (None, 10_000, "--base-port")]
)
def test_a_different_size_or_port_later_is_refused(tmp_path, count, base_port, option):
    """The cluster that is there is not changed silently, nor is a second one made."""
    find_or_create(tmp_path / "demo", 5, 20_000)
    with pytest.raises(Failure, match=option):
        find_or_create(tmp_path / "demo", count, base_port)


def test_a_founder_without_its_folder_waits_to_be_taken_back(tmp_path):
    """It must not count as a founder beside nodes that have formed a cluster with it."""
    made = find_or_create(tmp_path / "demo", 3, 30_000)
    made[0].data.mkdir()
    made[2].config.unlink()
    made[2].folder.rmdir()
    found = find_or_create(tmp_path / "demo", None, None)
    assert [(node.id, node.standby) for node in found] == [("K1", False), ("K2", False), ("K3", True)]
    assert load(str(made[2].config)).cluster.standby


def test_another_number_of_nodes_names_the_way_to_it(tmp_path):
    """One by one, and both ways."""
    find_or_create(tmp_path / "demo", 3, 20_000)
    with pytest.raises(Failure, match="`kraft demo --add` adds a node, KRAFT REMOVE takes one away"):
        find_or_create(tmp_path / "demo", 4, None)


def test_the_next_node_waits_to_be_added(tmp_path):
    """On the ports of its number, and it is a part of the cluster's folder from then on."""
    made = find_or_create(tmp_path / "demo", 3, 30_000)
    node = create_standby(tmp_path / "demo")
    assert (node.id, node.peer_port, node.client_port, node.http_port) == ("K4", 30_004, 30_014, 30_024)
    config = load(str(node.config))
    assert config.cluster.standby
    assert not config.cluster.members
    assert find(tmp_path / "demo") == [*made, node]
    assert find_or_create(tmp_path / "demo", 4, 30_000) == [*made, node]
    assert create_standby(tmp_path / "demo").id == "K5"
    assert present(tmp_path / "demo") == {"K1", "K2", "K3", "K4", "K5"}


def test_a_removed_node_is_not_started_again(tmp_path):
    """Its name is free again when its folder is deleted, also that of a founder."""
    made = find_or_create(tmp_path / "demo", 3, 30_000)
    made[1].removed.touch()
    assert find_or_create(tmp_path / "demo", None, None) == [made[0], made[2]]
    assert find(tmp_path / "demo") == [made[0], made[2]]
    assert present(tmp_path / "demo") == {"K1", "K3"}
    assert create_standby(tmp_path / "demo").id == "K4"
    made[1].config.unlink()
    made[1].removed.unlink()
    made[1].folder.rmdir()
    again = create_standby(tmp_path / "demo")
    assert again.id == "K2"
    assert find(tmp_path / "demo")[1] == again


def test_ports_are_known_without_any_founder(tmp_path):
    """All of them were removed, and their folders deleted."""
    [first] = find_or_create(tmp_path / "demo", 1, 30_000)
    added = create_standby(tmp_path / "demo")
    first.removed.touch()
    assert find_or_create(tmp_path / "demo", None, 30_000) == [added]
    first.config.unlink()
    first.removed.unlink()
    first.folder.rmdir()
    assert find_or_create(tmp_path / "demo", None, 30_000) == [added]
    added.removed.touch()
    with pytest.raises(Failure, match="were removed from their cluster"):
        find_or_create(tmp_path / "demo", None, None)


def test_there_are_ports_for_nine(tmp_path):
    """Then a folder has to go first."""
    find_or_create(tmp_path / "demo", 9, 30_000)
    with pytest.raises(Failure, match="may be deleted"):
        create_standby(tmp_path / "demo")


def test_adding_to_nothing_names_the_first_step(tmp_path):
    """And other ports than the folder has are refused."""
    with pytest.raises(Failure, match="make one with `kraft demo --dir"):
        find(tmp_path / "demo")
    find_or_create(tmp_path / "demo", 1, 30_000)
    with pytest.raises(Failure, match="--base-port 30000, not 40000"):
        find(tmp_path / "demo", 40_000)


def test_edited_ports_are_used(tmp_path):
    """The files are the user's."""
    [node] = find_or_create(tmp_path / "demo", 1, 20_000)
    node.config.write_text(node.config.read_text().replace("tcp:20011", "tcp:7777"))
    [found] = find_or_create(tmp_path / "demo", None, None)
    assert found.client_port == 7777


def test_a_removed_node_folder_gets_its_file_again(tmp_path):
    """Also that of K1, and without touching the files of the others."""
    made = find_or_create(tmp_path / "demo", 3, 20_000)
    made[1].config.write_text(made[1].config.read_text() + "log: {level: debug}\n")
    made[0].config.unlink()
    made[0].folder.rmdir()
    assert find_or_create(tmp_path / "demo", None, None) == made
    assert load(str(made[0].config)).node.id == "K1"
    assert load(str(made[1].config)).log.level == "debug"


IN_USE = OSError(errno.EADDRINUSE, "Address already in use")


def test_a_taken_port_leaves_nothing_behind(tmp_path, ports):
    """The advice is a base port that is free, and it works in the same folder."""
    ports(lambda port: IN_USE if port == 10_013 or 11_000 < port < 12_100 else None)
    with pytest.raises(Failure) as told:
        find_or_create(tmp_path / "demo", None, None)
    assert str(told.value) == (
        "port 10013 (K3, clients): Address already in use; use other ports: --base-port 13000"
    )
    assert not (tmp_path / "demo").exists()
    assert len(find_or_create(tmp_path / "demo", None, 13_000)) == 3


def test_a_taken_port_of_an_existing_cluster_has_other_advice(tmp_path, ports):
    """Its ports do not change; a folder that was never used may be deleted."""
    [first, *_] = find_or_create(tmp_path / "demo", None, None)
    ports(lambda port: IN_USE if port == 10_013 else None)
    with pytest.raises(Failure, match=r"stop it first, or .*has no data yet: rm -r .*demo starts afresh"):
        find_or_create(tmp_path / "demo", None, None)
    first.data.mkdir()
    with pytest.raises(Failure, match=r"a second one: --dir .*demo-2 --base-port P$"):
        find_or_create(tmp_path / "demo", None, None)


def test_a_taken_port_of_an_added_node_is_to_be_freed(tmp_path, ports):
    """There is no other port for it, and no file of it is written."""
    find_or_create(tmp_path / "demo", 1, None)
    ports(lambda port: IN_USE if port == 10_012 else None)
    with pytest.raises(Failure, match="free it, and repeat `kraft demo --add --dir"):
        create_standby(tmp_path / "demo")
    assert present(tmp_path / "demo") == {"K1"}


def test_a_port_that_only_root_may_open_says_so(tmp_path, ports):
    ports(lambda port: PermissionError(errno.EACCES, "Permission denied") if port < 1024 else None)
    with pytest.raises(Failure, match=r"Permission denied; ports below .* are not for every user; use other"):
        find_or_create(tmp_path / "demo", None, 100)
    assert not (tmp_path / "demo").exists()


def test_a_port_is_tried():
    with socket.create_server(("127.0.0.1", 0)) as server:
        found = PROBE(server.getsockname()[1])
    assert found is not None
    assert found.errno == errno.EADDRINUSE
    assert PROBE(0) is None


def test_a_full_disk_leaves_nothing_behind(tmp_path, monkeypatch):
    """Neither a file nor a folder, so that the next try is a first one."""
    write_text = Path.write_text

    def write(path, text):
        if "K2" in str(path):
            write_text(path, text[:10])
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        return write_text(path, text)

    monkeypatch.setattr(Path, "write_text", write)
    with pytest.raises(Failure, match=r"K2.*: No space left on device"):
        find_or_create(tmp_path / "demo", None, None)
    assert not (tmp_path / "demo").exists()


def test_a_folder_that_cannot_be_written_is_one_clear_line(tmp_path):
    """A file stands where the folder should be."""
    (tmp_path / "demo").write_text("")
    with pytest.raises(Failure, match="demo"):
        find_or_create(tmp_path / "demo", None, None)


def test_a_broken_file_is_named(tmp_path):
    """With the problem the loader found."""
    [node] = find_or_create(tmp_path / "demo", 1, 20_000)
    node.config.write_text(node.config.read_text() + "nonsense: 1\n")
    with pytest.raises(Failure, match="nonsense"):
        find_or_create(tmp_path / "demo", None, None)


def test_a_member_whose_folder_is_lost_does_not_lend_its_name(tmp_path):
    """It has to be replaced: its name still stands for a voter."""
    find_or_create(tmp_path / "demo", 3, 20_000)
    shutil.rmtree(tmp_path / "demo" / "K3")

    assert create_standby(tmp_path / "demo", members=("K1", "K2", "K3")).id == "K4"


def test_with_tls_every_node_has_a_certificate(tmp_path):
    """Also one that is added later, by the same CA; and a later run needs no option."""
    made = find_or_create(tmp_path / "demo", 2, 20_000, tls=True)
    added = create_standby(tmp_path / "demo")
    for node in (*made, added):
        config = load(str(node.config))
        assert (config.peer.tls, config.client.tls, config.http.tls) == ("required",) * 3
        credentials = read_tls(config, "")
        assert credentials is not None
        assert credentials.name == NodeName("kraft", node.id)
        assert node.ca == tmp_path / "demo" / "certs" / "ca.crt"
    assert find_or_create(tmp_path / "demo", None, None) == [*made, added]


def test_a_demo_without_tls_does_not_get_it_by_the_option(tmp_path):
    find_or_create(tmp_path / "demo", 1, None)
    with pytest.raises(Failure, match="holds a cluster without TLS: leave --tls out"):
        find_or_create(tmp_path / "demo", None, None, tls=True)


def test_the_number_of_groups_is_in_the_files_of_the_founders(tmp_path):
    made = find_or_create(tmp_path / "demo", 3, 20_000, 4)
    assert [load(str(node.config)).cluster.groups for node in made] == [4, 4, 4]
    assert find_or_create(tmp_path / "demo", None, None) == made
    assert find_or_create(tmp_path / "demo", None, None, 4) == made
    with pytest.raises(Failure, match="holds a cluster of --groups 4, not 5, and that does not change"):
        find_or_create(tmp_path / "demo", None, None, 5)
    assert load(str(create_standby(tmp_path / "demo").config)).cluster.groups == 1, "it takes the cluster's"
