"""The file with the cluster's secret: what is read, and the line that says why it cannot be."""

import os

import pytest

from kraft.process.failure import CannotStart
from kraft.process.secret import SECRET_BYTES_MAX, exposed_mode, read_secret


@pytest.fixture
def path(tmp_path):
    return tmp_path / "secret"


def test_white_space_around_it_is_not_part_of_it(path):
    path.write_text(" s3cret \n")
    assert read_secret(str(path)) == b"s3cret"
    assert read_secret(None) is None


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda path: None, "No such file or directory"),
        (lambda path: path.mkdir(), "Is a directory"),
        (lambda path: path.symlink_to(path), "Too many levels of symbolic links"),
        (lambda path: path.write_text(" \n"), "is empty: head -c 32 /dev/urandom | base64 > "),
        (lambda path: path.symlink_to("/dev/zero"), f"is longer than {SECRET_BYTES_MAX} bytes: ls -lL "),
    ],
)
def test_a_file_that_cannot_be_used_is_one_line(path, make, words):
    make(path)
    with pytest.raises(CannotStart) as told:
        read_secret(str(path))
    assert str(told.value).startswith(f"cluster.secret_file {path}")
    assert words in str(told.value)


@pytest.mark.parametrize(
    ("mode", "exposed"), [(0o600, ""), (0o640, ""), (0o644, "0644"), (0o602, "0602"), (0o400, "")]
)
def test_a_secret_that_everybody_may_read_is_noticed(path, mode, exposed):
    path.touch()
    path.chmod(mode)
    assert exposed_mode(str(path)) == exposed


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to give a file away")
def test_a_secret_that_could_not_be_read_otherwise_is_not_complained_of(path):
    """As in a container, whose user is not the owner."""
    path.touch()
    path.chmod(0o644)
    os.chown(path, 65_534, 65_534)
    assert exposed_mode(str(path)) == ""
