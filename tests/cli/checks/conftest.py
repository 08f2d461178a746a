"""A stopped node and its data directory, for the tests of this folder."""

import dataclasses

import pytest

from kraft.cli.checks.subject import Subject
from kraft.config import parse
from kraft.node.values import Transaction
from kraft.raft.messages import HardState
from kraft.raft.ready import Persist
from tests.cli.checks.subjects import SECTIONS, opened


@pytest.fixture
def stopped(tmp_path):
    """`stopped(text, pid=..., view=...)`: a node whose data directory is `tmp_path / "data"`."""

    def make(text="", **changed):
        config = parse(SECTIONS.format(data=tmp_path / "data") + text, "K1.yaml")
        return dataclasses.replace(Subject("K1.yaml", config, None), **changed)

    return make


@pytest.fixture
def data(tmp_path):
    """The directory, made by a node that has stopped."""
    path = tmp_path / "data"
    path.mkdir(mode=0o700)
    database = opened(path)
    database.commit([Transaction(((0, Persist(0, HardState(4), None, (), 0)),), None)])
    database.close()
    return path
