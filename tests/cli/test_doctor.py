"""`kraft doctor` as it is typed: lines, JSON, exit status, and no check in the way of another."""

import json
import threading
from pathlib import Path

import pytest

from kraft.cli import doctor
from kraft.cli.checks.result import OK, PROBLEM, WARNING, CheckResult
from kraft.cli.main import main

SECTIONS = """
node: {id: K1, data: data}
peer: {listen: "tcp:0:interface=127.0.0.1", advertise: "127.0.0.1:1"}
client: {listen: "tcp:0:interface=127.0.0.1", advertise: "127.0.0.1:2"}
http: {listen: ""}
"""


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "K1.yaml"
    path.write_text(SECTIONS)
    return str(path)


@pytest.fixture
def checks(monkeypatch):
    """`checks(name=findings, ...)` in the place of the real ones; an exception is raised."""

    def put(**found):
        def check(what):
            def made(_subject):
                if isinstance(what, Exception):
                    raise what
                return what

            return made

        monkeypatch.setattr(doctor, "CHECKS", tuple((name, check(what)) for name, what in found.items()))

    return put


def test_help_names_every_check(capsys):
    with pytest.raises(SystemExit):
        main(["doctor", "--help"])
    text = capsys.readouterr().out
    assert all(name in text for name, _ in doctor.CHECKS)


def test_every_check_is_documented():
    page = (Path(doctor.__file__).parents[2] / "docs/doctor.md").read_text()
    assert [name for name, _ in doctor.CHECKS if f"| `{name}` |" not in page] == []


def test_a_file_has_to_be_named_or_found(tmp_path, monkeypatch, checks, file, capsys):
    """The one in the folder is taken when it is the only one."""
    checks()
    monkeypatch.setattr(doctor, "FILE_HERE", tmp_path / "kraft.yaml")
    monkeypatch.setattr(doctor, "FOLDER", tmp_path)
    assert main(["doctor"]) == 0
    assert f"{file}: node K1, forms a cluster alone" in capsys.readouterr().out

    Path(file).with_name("K2.yaml").write_text("")
    with pytest.raises(SystemExit) as ended:
        main(["doctor"])
    assert ended.value.code == 2
    assert "name the node's configuration file" in capsys.readouterr().err


def test_the_files_of_a_demo_are_proposed(tmp_path, monkeypatch, capsys):
    """Whoever has just started the demo need not look for them."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(doctor, "FOLDER", tmp_path / "none")
    for id_ in ("K1", "K2"):
        (tmp_path / "kraft-demo" / id_).mkdir(parents=True)
        (tmp_path / "kraft-demo" / id_ / "kraft.yaml").write_text("")
    with pytest.raises(SystemExit) as ended:
        main(["doctor"])
    assert ended.value.code == 2
    told = " ".join(capsys.readouterr().err.split())
    assert "(kraft-demo/K1/kraft.yaml, kraft-demo/K2/kraft.yaml)" in told


def test_a_configuration_that_cannot_be_used_is_told_as_by_check_config(tmp_path, checks, capsys):
    checks(never=[CheckResult(PROBLEM, "looked at")])
    path = tmp_path / "bad.yaml"
    path.write_text("node: {id: K1, data: d}\nraft: {electon_timeout: 1s}\nclient: {routing: sideways}\n")
    assert main(["doctor", str(path)]) == 1
    text = capsys.readouterr().out
    assert f"problem  config     {path}:2: raft.electon_timeout: " in text
    assert f"{path}:3: client.routing: " in text
    assert "2 problems" in text
    assert "looked at" not in text


@pytest.mark.parametrize(
    ("level", "usual", "strict", "last"),
    [(OK, 0, 0, "all well"), (WARNING, 0, 1, "1 warning"), (PROBLEM, 1, 1, "1 problem")],
)
def test_the_exit_status(checks, file, capsys, level, usual, strict, last):
    checks(disk=[CheckResult(level, "found", "df -h")])
    assert main(["doctor", file]) == usual
    assert capsys.readouterr().out.splitlines()[-1] == last
    assert main(["doctor", "--strict", file]) == strict


def test_what_to_type_next_stands_below(checks, file, capsys):
    checks(disk=[CheckResult(WARNING, "little room", "df -h")])
    main(["doctor", file])
    assert "warning  disk       little room\n                    next: df -h\n" in capsys.readouterr().out


def test_json_has_the_same_facts(checks, file, capsys):
    checks(disk=[CheckResult(OK, "room")], clock=[CheckResult(PROBLEM, "wrong", "timedatectl")])
    assert main(["doctor", "--json", file]) == 1
    told = json.loads(capsys.readouterr().out)
    assert (told["file"], told["healthy"]) == (file, False)
    assert told["findings"][1:] == [
        {"check": "disk", "level": "ok", "text": "room", "command": None},
        {"check": "clock", "level": "problem", "text": "wrong", "command": "timedatectl"},
    ]


def test_a_check_that_fails_costs_no_other(checks, file, capsys):
    checks(a=RuntimeError("broken"), b=PermissionError(13, "Permission denied"), c=[CheckResult(OK, "well")])
    assert main(["doctor", file]) == 0
    text = capsys.readouterr().out
    assert "could not be checked: RuntimeError: broken" in text
    assert f"next: sudo kraft doctor {file}\n" in text
    assert "ok       c          well" in text


def test_a_check_that_hangs_is_left_behind(monkeypatch, file, capsys):
    over = threading.Event()
    monkeypatch.setattr(doctor, "CHECK_SECONDS", 0.01)
    monkeypatch.setattr(doctor, "CHECKS", (("a", lambda _: over.wait() and []), ("b", lambda _: [])))
    assert main(["doctor", file]) == 1
    assert "problem  a          did not finish within 0.01 s" in capsys.readouterr().out
    over.set()


def test_a_node_that_cannot_be_asked_for_long_is_looked_at_all_the_same(monkeypatch, file, capsys):
    """As one that runs: then none of its files is opened."""
    over = threading.Event()
    monkeypatch.setattr(doctor, "LOOK_SECONDS", 0.01)
    monkeypatch.setattr(doctor, "look_at", lambda *_: over.wait())
    monkeypatch.setattr(doctor, "CHECKS", (("a", lambda node: [CheckResult(OK, f"running {node.running}")]),))
    assert main(["doctor", file]) == 1
    assert "ok       a          running True" in capsys.readouterr().out
    over.set()
