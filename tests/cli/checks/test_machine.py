"""What `kraft doctor` finds out about the interpreter, clocks, open files and memory."""

import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from kraft.cli.checks import cluster, machine
from kraft.cli.checks.result import OK, PROBLEM, WARNING
from kraft.process.memory_limit import MemoryLimit
from kraft.process.python_build import PythonBuild
from kraft.telemetry.recent.facts import Facts
from tests.cli.checks.subjects import levels, only
from tests.web.reports import replica, report, view


@pytest.mark.parametrize(
    ("now", "kept", "level"),
    [(0.0, True, PROBLEM), (2e9, True, OK), (2e9, False, WARNING), (2e9, None, OK)],
)
def test_the_clock(now, kept, level):
    assert levels(machine.own_clock(now, kept)) == [level]


def test_the_kernel_is_asked_without_changing_anything():
    assert machine.synchronised() in (True, False, None)


def test_clocks_of_the_others(stopped, monkeypatch):
    monkeypatch.setattr(machine, "own_clock", lambda *_: [])
    rest = [report("K2"), report("K3")]
    near = view(report("K1", group={"replicas": (replica("K2", clock_offset_ms=-12), replica("K3"))}), *rest)
    assert "at most 12 ms" in only(machine.clock(stopped(view=near))).text

    far = view(report("K1", group={"replicas": (replica("K2", clock_offset_ms=5000), replica("K3"))}), *rest)
    found = only(machine.clock(stopped(view=far)))
    assert (found.level, found.text) == (
        WARNING,
        "K2: its clock differs from the median of the voters' clocks by +5.0 s",
    )
    assert "clock" not in " ".join(each.text for each in cluster.cluster(stopped(view=far)))


@pytest.mark.parametrize(
    ("hard", "level"),
    [(10_288, OK), (10_287, WARNING), (128, WARNING), (127, PROBLEM), (resource.RLIM_INFINITY, OK)],
)
def test_open_files(stopped, monkeypatch, hard, level):
    """A node raises its soft limit to the hard one."""
    monkeypatch.setattr(resource, "getrlimit", lambda _: (64, hard))
    assert levels(machine.files(stopped())) == [level]


def test_open_files_of_the_process(stopped):
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    found = only(machine.files(stopped(pid=os.getpid())))
    assert f"process {os.getpid()} may open {soft} files" in found.text


@pytest.mark.parametrize(("limit", "level"), [(200 << 20, OK), (199 << 20, WARNING)])
def test_memory_of_a_running_node(stopped, limit, level):
    facts = Facts(memory_limit=limit, dataset_bytes_max=50 << 20)
    found = only(machine.memory(stopped(view=view(report("K1", facts=facts)))))
    assert (found.level, f"may use {limit >> 20} MiB, 50 MiB for data" in found.text) == (level, True)


def test_memory_of_a_process_started_from_here(stopped, monkeypatch):
    monkeypatch.setattr(machine, "memory_limits", lambda: [MemoryLimit(64 << 20, "memory.max of x")])
    found = only(machine.memory(stopped()))
    assert (found.level, "may use 64 MiB (memory.max of x)" in found.text) == (WARNING, True)


@pytest.mark.parametrize(("kind", "level"), [("optimised", OK), ("plain", WARNING), ("debug", WARNING)])
@pytest.mark.parametrize("pid", [None, os.getpid()], ids=["stopped", "running"])
def test_the_interpreter(stopped, monkeypatch, pid, kind, level):
    """A running node of the same program has the same build."""
    monkeypatch.setattr(machine, "python_build", lambda: PythonBuild("3.12.1", kind, "a sign"))
    found = only(machine.python(stopped(pid=pid)))
    assert (found.level, bool(found.command)) == (level, level != OK)
    assert f"Python 3.12.1, {kind} build (a sign): {Path(sys.executable).resolve()}" in found.text


def test_the_interpreter_of_another_program_is_not_judged(stopped, monkeypatch):
    monkeypatch.setattr(machine, "python_build", lambda: PythonBuild("3.12.1", "plain", "a sign"))
    with subprocess.Popen(["sleep", "60"]) as other:
        try:
            found = only(machine.python(stopped(pid=other.pid)))
        finally:
            other.kill()
    assert (found.level, "whose build is unknown here" in found.text) == (OK, True)
