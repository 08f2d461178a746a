"""The YAML loader: strict, complete in its complaints, and derived from the schema."""

from pathlib import Path

import pytest

from kraft.config import Config, ConfigError, load, parse
from kraft.config.tree import TEXT_BYTES_MAX
from kraft.raft.membership.configuration import MEMBERS_MAX

MINIMAL = "node: {id: K1, data: /srv/k1}\n"


def problems(text: str) -> dict[str, str]:
    """Path -> text of every problem; paths are unique in these tests."""
    with pytest.raises(ConfigError) as caught:
        parse(text, "k.yaml")
    found = {problem.path: problem.text for problem in caught.value.problems}
    assert len(found) == len(caught.value.problems)
    return found


def test_a_minimal_file_takes_every_default() -> None:
    config = parse(MINIMAL, "k.yaml")

    assert config.node.id == "K1"
    assert config.raft.election_timeout == 0.5
    assert config.client.listen == "tcp:10011:interface=127.0.0.1"


def test_values_arrive_converted() -> None:
    text = MINIMAL + (
        "raft: {election_timeout: 1.5s, heartbeat_interval: 250ms, message_bytes: 65536}\n"
        "client: {routing: redirect, idle_timeout: 1h, write_timeout: 2m}\n"
        "limits: {dataset_bytes: 0}\n"
        "log:\n"
    )

    config = parse(text, "k.yaml")

    assert (config.raft.election_timeout, config.raft.heartbeat_interval) == (1.5, 0.25)
    assert config.raft.message_bytes == 65536
    assert (config.client.routing, config.client.idle_timeout, config.client.write_timeout) == (
        "redirect",
        3600,
        120,
    )
    assert config.limits.dataset_bytes == 0


def test_all_problems_come_at_once_each_with_path_line_and_remedy() -> None:
    text = (
        "node: {id: K1, data: d}\n"
        "raft:\n"
        "  electon_timeout: 500ms\n"
        "  heartbeat_interval: 12\n"
        "client:\n"
        "  routing: on\n"
        "limits: {key_bytes: 012}\n"
    )

    with pytest.raises(ConfigError) as caught:
        parse(text, "k.yaml")

    right = "write a number with its unit such as 12s or 12ms"
    assert str(caught.value).splitlines() == [
        "k.yaml:3: raft.electon_timeout: unknown key; did you mean election_timeout?",
        f"k.yaml:4: raft.heartbeat_interval: '12' is not a duration; {right}",
        "k.yaml:6: client.routing: 'on' is not a choice; write one of forward, redirect",
        "k.yaml:7: limits.key_bytes: '012' is not a plain integer; write 1 to 65536",
    ]


def test_a_repeated_key_is_refused_in_every_depth() -> None:
    text = "node: {id: K1, data: d, id: K2}\ncluster:\n  members: {K1: '127.0.0.1:10001', K1: 'h:2'}\nnode:\n"

    assert set(problems(text)) == {"node", "node.id", "cluster.members.K1"}


@pytest.mark.parametrize("written", ["on", "1:30", "0x10", "1_000", "1e3", "012", "-1", "\uff11", "1.0", ""])
def test_integers_are_plain_decimals(written: str) -> None:
    assert "limits.arguments" in problems(MINIMAL + f"limits: {{arguments: {written}}}\n")


def test_a_size_with_a_unit_is_answered_with_the_number_to_write() -> None:
    assert problems(MINIMAL + "limits: {value_bytes: 2MiB}\n")["limits.value_bytes"].endswith("write 2097152")


@pytest.mark.parametrize("written", ["1", "10 s", "1d", "s", "-1s", "on", "1:30", "1e3s", "0", "10S"])
def test_durations_carry_a_known_unit(written: str) -> None:
    assert "client.leader_wait" in problems(MINIMAL + f"client: {{leader_wait: {written}}}\n")


@pytest.mark.parametrize(
    ("option", "within", "below", "above"),
    [
        ("limits.key_bytes", ["1", "65536"], "0", "65537"),
        ("limits.connections", ["1", "1000000"], "0", "1000001"),
        ("limits.pending_proposals", ["1", "65536"], "0", "65537"),
        ("limits.arguments", ["16", "1048576"], "15", "1048577"),
        ("limits.dataset_bytes", ["0", "1048576", str(1 << 50)], "1048575", str((1 << 50) + 1)),
        ("client.write_timeout", ["10ms", "1h"], "9ms", "61m"),
        ("client.idle_timeout", ["0s", "1s", "168h"], "999ms", "169h"),
        ("raft.election_timeout", ["300ms", "60s"], "49ms", "61s"),
    ],
)
def test_every_bound_is_inclusive_and_named(option: str, within: list[str], below: str, above: str) -> None:
    section, _, key = option.partition(".")

    for written in within:
        parse(MINIMAL + f"{section}: {{{key}: {written}}}\n", "k.yaml")
    for written in (below, above):
        assert "out of bounds; write " in problems(MINIMAL + f"{section}: {{{key}: {written}}}\n")[option]


def test_required_options_are_asked_for() -> None:
    assert set(problems("log: {level: info}\n")) == {"node.id", "node.data"}
    assert set(problems("")) == {"node.id", "node.data"}


@pytest.mark.parametrize("id_", ["K 1", "", ".", "..", "a/b", "x" * 65, "é"])
def test_node_ids_are_short_and_safe_as_folder_names(id_: str) -> None:
    assert "node.id" in problems(f"node: {{id: '{id_}', data: d}}\n")


def test_shapes_that_do_not_fit_are_problems_not_crashes() -> None:
    text = "node: [K1]\ncluster: {members: [K1]}\nraft: 5\nclient: {listen: {port: 1}}\nhttp: {listen: [1]}\n"

    assert set(problems(text)) == {"node", "cluster.members", "raft", "client.listen", "http.listen"}


@pytest.mark.parametrize(
    "text",
    [
        "[]",
        "just text",
        "a: b: c",
        "\t- x",
        "--- {}\n--- {}\n",
        "[" * 5000,
        "\x01",
        "&a [*a]",
        "node: *gone",
        "%",
    ],
)
def test_text_that_is_no_configuration_is_one_problem(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(text, "k.yaml")

    assert len(caught.value.problems) == 1


def test_recursive_aliases_and_python_tags_are_harmless() -> None:
    assert set(problems("node: &n {id: K1, data: !!python/object/apply:os.getcwd [], more: *n}\n")) == {
        "node.data",
        "node.more",
    }
    assert "cluster.members.K1" in problems("node: {id: K1, data: d}\ncluster: {members: &m {K1: *m}}\n")


def test_the_size_of_the_text_is_bounded() -> None:
    assert parse(MINIMAL + "#" * (TEXT_BYTES_MAX - len(MINIMAL)), "k.yaml").node.id == "K1"
    assert "longer" in problems(MINIMAL + "#" * (TEXT_BYTES_MAX - len(MINIMAL) + 1))[""]


def test_the_number_of_members_is_bounded() -> None:
    def members(count: int) -> str:
        return (
            MINIMAL
            + "cluster:\n  members:\n"
            + "".join(f"    K{i}: 127.0.0.1:{i}\n" for i in range(1, count + 1))
        )

    assert len(parse(members(MEMBERS_MAX), "k.yaml").cluster.members) == MEMBERS_MAX
    assert "too many" in problems(members(MEMBERS_MAX + 1))["cluster.members"]


def test_an_unknown_key_without_a_near_name_lists_what_is_known() -> None:
    assert problems(MINIMAL + "log: {zzz: 1}\n")["log.zzz"] == "unknown key; known here: level, format"


def test_load_resolves_paths_against_the_folder_of_the_file(tmp_path: Path) -> None:
    file = tmp_path / "kraft.yaml"
    file.write_text("node: {id: K1, data: data}\ncluster: {secret_file: /etc/secret}\n")

    config = load(str(file))

    assert config.node.data == str(tmp_path / "data")
    assert config.cluster.secret_file == "/etc/secret"


def test_a_file_that_cannot_be_read_is_one_clear_line(tmp_path: Path) -> None:
    binary = tmp_path / "b.yaml"
    binary.write_bytes(b"node: \xff")

    for path, text in (
        (tmp_path / "none.yaml", "cannot be read: No such file"),
        (binary, "not UTF-8 text, from byte 6"),
    ):
        with pytest.raises(ConfigError, match=text):
            load(str(path))


def test_the_result_is_a_frozen_value() -> None:
    assert parse(MINIMAL, "a") == parse(MINIMAL, "b")
    assert isinstance(parse(MINIMAL, "a"), Config)
