"""The shared secret of the cluster."""

import os
import stat
from pathlib import Path

from kraft.process.failure import CannotStart
from kraft.storage.access import explain_error

SECRET_BYTES_MAX = 64 << 10  # a file that is longer, or that never ends, is another one


def read_secret(path: str | None) -> bytes | None:
    """The content of `cluster.secret_file` without surrounding white space; None if no file is configured.

    Raises CannotStart if the file cannot be read, is empty, or is longer than `SECRET_BYTES_MAX`.
    """
    if path is None:
        return None
    try:
        with Path(path).open("rb") as file:
            secret = file.read(SECRET_BYTES_MAX + 1).strip()
    except OSError as error:
        raise CannotStart(f"cluster.secret_file {path}: {explain_error(Path(path), error)}") from None
    if not secret:
        text = f"is empty: head -c 32 /dev/urandom | base64 > {path}, the same on all nodes"
        raise CannotStart(f"cluster.secret_file {path} {text}")
    if len(secret) > SECRET_BYTES_MAX:
        raise CannotStart(
            f"cluster.secret_file {path} is longer than {SECRET_BYTES_MAX} bytes: ls -lL {path}"
        )
    return secret


def exposed_mode(path: str) -> str:
    """The mode of the secret's file if it lets more users read or replace it than necessary, else ''."""
    found = os.stat(path)  # noqa: PTH116
    mode = stat.S_IMODE(found.st_mode)
    readable = found.st_uid == os.geteuid() or (found.st_gid in os.getgroups() and mode & stat.S_IRGRP)
    return f"{mode:04o}" if mode & stat.S_IWOTH or (readable and mode & stat.S_IROTH) else ""
