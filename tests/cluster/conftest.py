"""Clusters for the tests of this folder, ended with their test whatever happens."""

from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.cluster.earlier import NotInHistory, install_earlier
from tests.cluster.harness import Cluster
from tests.cluster.proxy import Cuts
from tests.cluster.redis_server import running_redis

MakeCluster = Callable[..., Cluster]


def _maker(factory: pytest.TempPathFactory) -> Iterator[MakeCluster]:
    made: list[Cluster] = []

    def make(count: int = 3, **sections: dict[str, object]) -> Cluster:
        cluster = Cluster(factory.mktemp("cluster"), count, **sections)
        made.append(cluster)
        return cluster

    yield make
    for cluster in made:
        cluster.close()


@pytest.fixture
def make_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MakeCluster]:
    """`make_cluster(3, raft={...})`: configured, not started."""
    yield from _maker(tmp_path_factory)


@pytest.fixture
def cluster(make_cluster: MakeCluster) -> Cluster:
    """Three nodes that serve writes, for a test that breaks them."""
    cluster = make_cluster()
    cluster.start()
    return cluster


@pytest.fixture
def cuts(make_cluster: MakeCluster) -> Iterator[tuple[Cluster, Cuts]]:
    """Three nodes that serve writes, each of which can be cut off from the others."""
    cluster = make_cluster()
    with closing(Cuts(cluster)) as cuts:
        cluster.start()
        yield cluster, cuts


@pytest.fixture(scope="session")
def earlier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The library of the earlier release, for `Server.library`."""
    try:
        return install_earlier(tmp_path_factory.mktemp("earlier"))
    except NotInHistory as missing:
        pytest.skip(f"needs {missing}")


@pytest.fixture(scope="module")
def shared_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Three nodes that serve writes, for all tests of a module that leave them as they were."""
    for make in _maker(tmp_path_factory):
        cluster = make()
        cluster.start()
        yield cluster


@pytest.fixture(scope="module")
def redis_port(need: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of a redis-server that ends with the tests of a module."""
    with running_redis(need("redis-server"), tmp_path_factory.mktemp("redis")) as port:
        yield port
