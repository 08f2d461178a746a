"""The shared secret of the cluster."""

from pathlib import Path

from kraft.process.failure import CannotStart


def read_secret(path: str | None) -> bytes | None:
    """The content of `cluster.secret_file` without surrounding white space; None if no file is configured.

    Raises CannotStart if the file cannot be read or is empty.
    """
    if path is None:
        return None
    try:
        secret = Path(path).read_bytes().strip()
    except OSError as error:
        raise CannotStart(f"cluster.secret_file {path}: {error.strerror}") from None
    if not secret:
        raise CannotStart(f"cluster.secret_file {path} is empty")
    return secret
