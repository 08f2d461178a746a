"""The files of deploy/ without a running systemd: what its tools say of them, and what belongs together."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from kraft import config
from kraft.process.failure import DAMAGED_STATUS, OUTDATED_STATUS
from kraft.telemetry.renderers import IDENTIFIER

ROOT = Path(__file__).resolve().parents[2]
UNITS = ROOT / "deploy/systemd"
EXPOSURE_MAX = 1.1


def directives(path: Path) -> dict[str, list[str]]:
    """Name to values, in order, whatever the section."""
    found: dict[str, list[str]] = {}
    for line in path.read_text().splitlines():
        if line and line[0] not in "#[":
            name, _, value = line.partition("=")
            found.setdefault(name, []).append(value)
    return found


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The units under the names of instances, with programs that exist on this machine."""
    for path in UNITS.iterdir():
        text = path.read_text().replace("/opt/kraft/bin/", "/bin/").replace("/bin/twistd", "/bin/true")
        copy = tmp_path / path.name.replace("@", "@K1")
        copy.write_text(text.replace("/bin/kraft", "/bin/true"))
    return tmp_path


def test_the_units_are_valid(need, folder):
    """No unknown directive, no missing dependency, no section in the wrong place."""
    checked = subprocess.run(
        [need("systemd-analyze"), "verify", "--man=no", *sorted(folder.iterdir())],
        capture_output=True,
        text=True,
    )
    assert (checked.returncode, checked.stderr) == (0, "")


@pytest.mark.parametrize("unit", ["kraft@K1.service", "kraft-backup@K1.service"])
def test_the_exposure_stays_low(need, folder, unit):
    report = subprocess.run(
        [need("systemd-analyze"), "security", "--offline=true", folder / unit],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    overall = re.search(rf"Overall exposure level for {unit}: (\S+)", report)
    assert overall is not None, report
    assert float(overall[1]) <= EXPOSURE_MAX


def test_a_node_that_another_start_does_not_help_is_not_started_again():
    """Only a newer kraft, or a re-admission with an empty directory, helps."""
    values = directives(UNITS / "kraft@.service")
    assert values["Restart"] == ["on-failure"]
    assert values["RestartPreventExitStatus"] == [f"{DAMAGED_STATUS} {OUTDATED_STATUS}"]


@pytest.mark.parametrize("name", ["MemoryDenyWriteExecute", "ProcSubset", "NoExecPaths", "RootDirectory"])
def test_what_is_left_out_has_its_reason(name):
    unit = UNITS / "kraft@.service"
    assert name not in directives(unit)
    assert f"# {name}=" in unit.read_text()


def test_the_unit_says_what_the_node_does():
    """Signs of life, reload and paths are agreements between the unit, the node and the package."""
    unit = directives(UNITS / "kraft@.service")
    assert unit["Type"] == ["notify"]
    assert unit["WatchdogSec"] == ["30s"]
    assert unit["SyslogIdentifier"] == [IDENTIFIER]
    assert unit["ExecReload"] == ["/bin/kill -HUP $MAINPID"]
    assert unit["ExecStart"][0].endswith("kraft --config /etc/kraft/%i.yaml")
    assert unit["WorkingDirectory"] == [f"/var/lib/{unit['StateDirectory'][0]}"]
    assert unit["User"] == unit["Group"] == ["kraft"]
    assert "u kraft " in (ROOT / "deploy/sysusers.d/kraft.conf").read_text()
    [endpoint] = re.findall(r'listen: "(systemd:[^"]+)"', (UNITS / "kraft-client@.socket").read_text())
    name = directives(UNITS / "kraft-client@.socket")["FileDescriptorName"][0]
    assert endpoint == f"systemd:domain=INET:name={name}"


def test_a_port_that_systemd_holds_needs_an_address_to_tell():
    """The endpoint names none, so `advertise` has to be written, and is then all that is needed."""
    text = 'node: {id: K1, data: /d}\nclient: {listen: "systemd:domain=INET:name=client"%s}\n'
    with pytest.raises(config.ConfigError, match=r"client\.advertise"):
        config.parse(text % "", "test")
    read = config.parse(text % ', advertise: "10.0.0.1:10011"', "test")
    assert read.client.advertise == "10.0.0.1:10011"


def test_the_packaged_example_is_usable():
    """And it keeps its data where the unit lets it write."""
    example = config.load(str(ROOT / "deploy/debian/K1.yaml"))
    assert example.node.data == f"/var/lib/kraft/{example.node.id}"
    assert example.cluster.secret_file == "/etc/kraft/secret"


@pytest.mark.parametrize("script", ["build", "postinst", "prerm", "postrm"])
def test_the_package_scripts_are_plain_shell(script):
    shell = shutil.which("dash") or "sh"
    subprocess.run([shell, "-n", ROOT / "deploy/debian" / script], check=True)
