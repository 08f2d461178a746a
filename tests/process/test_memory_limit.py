"""The tightest limit of the memory, read from trees like those of containers, units and shells."""

import os
import resource

import pytest

from kraft.process.memory_limit import ADDRESSES, DATA, RESIDENT, MemoryUse, memory_limits, memory_use

MIB = 1 << 20
MACHINE = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
NONE_V1 = str((1 << 63) - 4096)


@pytest.fixture
def tree(tmp_path):
    """Writes a root: the process's groups, and files of groups by their path below /sys/fs/cgroup."""

    def make(groups, files):
        (tmp_path / "proc/self").mkdir(parents=True)
        (tmp_path / "proc/self/cgroup").write_text(groups)
        for name, text in files.items():
            path = tmp_path / "sys/fs/cgroup" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"{text}\n")
        return tmp_path

    return make


@pytest.mark.parametrize(
    ("groups", "files", "size", "source"),
    [
        # a systemd unit with MemoryMax=
        (
            "0::/system.slice/kraft@K1.service\n",
            {
                "system.slice/kraft@K1.service/memory.max": 256 * MIB,
                "system.slice/kraft@K1.service/memory.high": "max",
                "system.slice/memory.max": "max",
            },
            256,
            "memory.max of",
        ),
        # MemoryHigh= below MemoryMax=
        (
            "0::/system.slice/kraft@K1.service\n",
            {
                "system.slice/kraft@K1.service/memory.max": 512 * MIB,
                "system.slice/kraft@K1.service/memory.high": 300 * MIB,
            },
            300,
            "memory.high of",
        ),
        # the limit of a group above
        (
            "0::/a/b/c\n",
            {"a/memory.max": 128 * MIB, "a/b/memory.max": "max", "a/b/c/memory.max": 512 * MIB},
            128,
            "cgroup/a",
        ),
        # a container with a namespace of its own: its group is the root
        ("0::/\n", {"memory.max": 64 * MIB}, 64, "memory.max of"),
        # a container that sees the path of the host, and only its own group
        ("0::/docker/4711\n", {"memory.max": 64 * MIB}, 64, "memory.max of"),
        # cgroup v1
        (
            "4:memory:/docker/1\n0::/\n",
            {"memory/docker/1/memory.limit_in_bytes": 256 * MIB, "memory/memory.limit_in_bytes": NONE_V1},
            256,
            "memory.limit_in_bytes of",
        ),
        # v1 in a container
        (
            "7:cpu,memory:/docker/1\n",
            {"memory/memory.limit_in_bytes": 100 * MIB},
            100,
            "memory.limit_in_bytes",
        ),
        # both, as systemd mounts them in hybrid mode; the hierarchy of v2 is below `unified`
        (
            "4:memory:/x\n0::/y\n",
            {"memory/x/memory.limit_in_bytes": 256 * MIB, "unified/y/memory.max": 200 * MIB},
            200,
            "unified/y",
        ),
    ],
)
def test_control_groups(tree, groups, files, size, source):
    lowest = memory_limits(tree(groups, files))[0]
    assert (lowest.size, lowest.place) == (size * MIB, RESIDENT)
    assert source in lowest.source


@pytest.mark.parametrize(
    "files",
    [
        {},
        {"memory.max": "max", "memory.high": "max"},
        {"memory.max": "garbage"},
        {"memory.max": "0"},
        {"memory/x/memory.limit_in_bytes": NONE_V1},
    ],
)
def test_without_a_limit_the_machine_is_one(tree, files):
    """Whatever the files hold."""
    limits = memory_limits(tree("4:memory:/x\n0::/x\n", files))
    assert [(limit.size, limit.source) for limit in limits] == [(MACHINE, "memory of the machine")]


def test_a_system_without_control_groups(tmp_path):
    assert [limit.size for limit in memory_limits(tmp_path)] == [MACHINE]


@pytest.mark.parametrize(("which", "place"), [("RLIMIT_AS", ADDRESSES), ("RLIMIT_DATA", DATA)])
def test_resource_limits(tmp_path, monkeypatch, which, place):
    """Each limits another part of the memory, so each is compared with that."""
    real = resource.getrlimit
    number = getattr(resource, which)
    monkeypatch.setattr(resource, "getrlimit", lambda each: (300 * MIB, -1) if each == number else real(each))
    lowest = memory_limits(tmp_path)[0]
    assert (lowest.size, lowest.source, lowest.place) == (300 * MIB, which, place)


def test_the_memory_of_this_process():
    """Addresses include everything that is resident; what has just been written is resident."""
    limits = {place: memory_limits()[-1].__class__(1, "", place) for place in (ADDRESSES, RESIDENT, DATA)}
    before = memory_use()
    held = b"x" * (64 * MIB)
    after = memory_use()
    for limit in limits.values():
        assert after.of(limit) - before.of(limit) >= 60 * MIB
    assert after.of(limits[ADDRESSES]) >= after.of(limits[RESIDENT])
    assert len(held) == 64 * MIB


def test_use_is_in_bytes():
    limits = memory_limits()
    assert MemoryUse((5, 3, 0, 0, 0, 4, 0)).of(limits[0]) in {
        3 * resource.getpagesize(),
        5 * resource.getpagesize(),
        4 * resource.getpagesize(),
    }
