"""How many files this process may have open, and what of that is left for clients.

A connection is an open file. If clients took the last one, a checkpoint could not open its state file, and no
peer could connect. So the soft limit is raised to the hard one, and clients get what the parts of a node
cannot need themselves:

    24   interpreter, event loop, log, listening ports
    40   storage: log.db, state files and views of them (each with a WAL and shared memory), directories
   100   peers: 32 connections in handshake, 32 that were just accepted; a link, one that crosses it, and two
         requests for each of nine
    96   HTTP: 64 connections, and 32 that were just accepted
    28   clients that are being refused

Each further group has a state file with its WAL and shared memory; at most 64 of them are open.
"""

import contextlib
import resource
import sys
from collections.abc import Callable
from functools import partial

from kraft.process.failure import CannotStart
from kraft.storage.ports import StorageSettings

RESERVED_FILES = 288
STATE_FILE_FILES = 3  # of an open state file
FILES_MIN = 128  # interpreter, storage, and a few connections of each kind
_MOST = (1 << 20, 10_240)  # what systems allow that call the hard limit infinite


def room_for_clients() -> Callable[[int], int]:
    """Raise the limit, and return how many clients it admits, by the number of groups.

    Raises CannotStart if it is too low.
    """
    limit = raise_limit()
    if limit < FILES_MIN:
        raise CannotStart(
            f"this process may open {limit} files, and a node needs {FILES_MIN} or more:"
            " raise the hard limit (LimitNOFILE= in a unit, ulimit -Hn in a shell, --ulimit nofile=)"
        )
    return partial(files_for_clients, limit)


def raise_limit() -> int:
    """Raise the soft limit to the hard one, as far as the system lets us. Returns the limit in force."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    for wanted in (hard, *_MOST):
        if not _rank(soft) < _rank(wanted) <= _rank(hard):
            continue
        # A filter of system calls may forbid it, and the system may have a bound below the hard limit.
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
            break
    return _rank(resource.getrlimit(resource.RLIMIT_NOFILE)[0])


def reserved_files(groups: int) -> int:
    """How many files the parts of a node with so many groups may open."""
    open_at_once = min(groups, StorageSettings().state_files_open)
    return RESERVED_FILES + STATE_FILE_FILES * (max(open_at_once, 1) - 1)


def files_for_clients(limit: int, groups: int = 1) -> int:
    """How many of `limit` files are left for clients. Of a small limit they get half."""
    return limit - min(reserved_files(groups), limit // 2)


def _rank(limit: int) -> int:
    return sys.maxsize if limit == resource.RLIM_INFINITY else limit
