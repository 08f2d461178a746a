"""What a key is counted with is at least what it takes: measured in a process of its own."""

import json
import subprocess
import sys

import pytest

MEASURE = """
import gc, json, os, sys
from kraft.kv import commands as kv
from kraft.kv.machine import Machine
from kraft.raft.membership.configuration import Base

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

size, count, expiry, taken = json.loads(sys.argv[1])
machine = Machine()
gc.collect()
before = resident()
for number in range(count):
    key, value = b"key:%012d" % number, os.urandom(size)
    if expiry:
        command = kv.Set(key, value, expiry=kv.Expiry.RELATIVE, expiry_ms=1_000_000 + number)
    else:
        command = kv.Put(key, value)
    machine.apply(number, kv.decode(kv.encode([command])))  # as a replica: decoded from an entry
capture = machine.keyspace.take_changes() if taken else None
capture = None
gc.collect()
print(json.dumps([resident() - before, machine.keyspace.memory]))
"""


@pytest.mark.parametrize(
    ("size", "count", "expiry", "taken"),
    [
        (10, 200_000, False, False),
        (10, 90_000, False, False),  # just after the dictionaries have grown
        (10, 200_000, True, False),
        (10, 200_000, False, True),
        (1000, 40_000, False, False),
        (1000, 40_000, True, False),
        (5000, 20_000, False, False),
        (100_000, 1000, False, False),
    ],
)
def test_the_account_covers_what_the_process_grows_by(size, count, expiry, taken):
    """And is not far above it: at most half as much again, for the smallest keys."""
    said = subprocess.run(
        [sys.executable, "-c", MEASURE, json.dumps([size, count, expiry, taken])],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    ).stdout
    grown, counted = json.loads(said)
    assert grown <= counted <= 1.5 * grown
