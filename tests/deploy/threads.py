"""One thread of a running process held still, as a disk that never answers holds the thread that waits.

A debugger's means (ptrace), without a debugger: nothing in the process has to know, and the other threads run
on. It is done by a process of its own, since a thread stays stopped only while its tracer lives, and a thread
that dies meanwhile has to be waited for.
"""

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

TRACER = """
import ctypes, os, select, sys
SEIZE, INTERRUPT, ALL = 0x4206, 0x4207, 0x40000000
call = ctypes.CDLL(None, use_errno=True).ptrace
call.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
thread = int(sys.argv[1])
for request in (SEIZE, INTERRUPT):
    if call(request, thread, None, None):
        sys.exit(os.strerror(ctypes.get_errno()))
os.waitpid(thread, ALL)
print("stopped", flush=True)
while not select.select([sys.stdin], [], [], 0.05)[0]:
    try:
        done, status = os.waitpid(thread, ALL | os.WNOHANG)
    except ChildProcessError:
        break
    if done and not os.WIFSTOPPED(status):
        break
"""


def threads(pid: int) -> list[int]:
    """Ids of the threads of a process, the oldest first: ids grow, and begin anew after the highest one."""
    ids = [int(path.name) for path in Path(f"/proc/{pid}/task").iterdir()]
    return sorted(ids, key=lambda id_: (id_ < pid, id_))


def writer_thread(pid: int) -> int:
    """The second thread that a node starts: that of the log's lines comes first, and then the store opens.

    Whether it was the right one shows in the test: writes stop, and everything else goes on.
    """
    return threads(pid)[2]


@contextlib.contextmanager
def held(thread: int) -> Iterator[None]:
    """A thread that does not run until the end of the block, or of its process."""
    tracer = subprocess.Popen(
        [sys.executable, "-c", TRACER, str(thread)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with tracer:
        assert tracer.stdout is not None
        assert tracer.stderr is not None
        if tracer.stdout.readline() != "stopped\n":
            pytest.skip(f"needs the right to trace a process: {tracer.stderr.read().strip()}")
        yield
