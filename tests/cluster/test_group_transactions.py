"""Commands and transactions over several groups of real nodes, by unchanged clients, through every node."""

import itertools
import random
import threading
from functools import partial

import pytest
import redis
from redis.exceptions import ClusterDownError, TryAgainError

from kraft.host.slots import SlotMap
from kraft.kv.slots import slot_of
from tests.cluster.faults import CALL_SECONDS, kill, on_every_node, pause, under_faults
from tests.cluster.harness import crowding, wait_until
from tests.cluster.load import PAUSE_SECONDS
from tests.cluster.test_groups import GROUPS, leaders

pytestmark = pytest.mark.slow

NODES = ["K1", "K2", "K3"]
SLOTS = SlotMap(GROUPS)
FUNDS = 100  # of each account
PATIENCE = 0.5


def group_of(key):
    return SLOTS.group_of(slot_of(key.encode()))


def keys_of_each_group(prefix):
    """One key of each group."""
    found: dict[int, str] = {}
    numbers = itertools.count()
    while len(found) < GROUPS:
        key = f"{prefix}:{next(numbers)}"
        found.setdefault(group_of(key), key)
    return [found[group] for group in range(GROUPS)]


def connected(server):
    return redis.Redis(port=server.client_port, decode_responses=True, socket_timeout=CALL_SECONDS)


def open_transactions(server):
    status = server.status() or {}
    return sum(view["transactions"] for view in status.get("groups", [])) if status else None


def serves(cluster):
    pairs = [word for key in keys_of_each_group("first") for word in (key, "1")]
    return leaders(cluster) and all(server.ask("MSET", *pairs) == "OK" for server in cluster)


@pytest.fixture(scope="module")
def trio(tmp_path_factory):
    from tests.cluster.conftest import _maker

    for make in _maker(tmp_path_factory):
        cluster = make(3, cluster={"groups": GROUPS}, transactions={"patience": f"{PATIENCE}s"})
        cluster.start()
        wait_until(partial(serves, cluster), "every group has a leader, and knows transactions")
        yield cluster


@pytest.fixture
def keys(request):
    return keys_of_each_group(request.node.name)


@pytest.mark.parametrize("name", NODES)
def test_mset_and_mget(trio, name, keys):
    with connected(trio[name]) as client:
        assert client.mset({key: f"of {key}" for key in keys}) is True
        assert client.mget(*keys, "missing") == [*(f"of {key}" for key in keys), None]
        assert client.exists(*keys, "missing") == GROUPS
        assert client.delete(*keys[1:], "missing") == GROUPS - 1
        assert client.mget(keys) == [f"of {keys[0]}", *[None] * (GROUPS - 1)]


@pytest.mark.parametrize("name", NODES)
def test_a_transaction(trio, name, keys):
    with connected(trio[name]) as client:
        pipeline = client.pipeline(transaction=True)
        for key in keys:
            pipeline.incrby(key, 5)
            pipeline.get(key)
        pipeline.mget(keys)
        assert pipeline.execute() == [*[5, "5"] * GROUPS, ["5"] * GROUPS]


@pytest.mark.parametrize("name", NODES)
def test_watched_keys(trio, name, keys):
    with connected(trio[name]) as client, connected(trio["K1"]) as other:
        client.mset(dict.fromkeys(keys, 1))
        for meddle in (False, True):
            pipeline = client.pipeline()
            pipeline.watch(*keys)
            values = pipeline.mget(keys)
            if meddle:
                other.incr(keys[-1])
            pipeline.multi()
            pipeline.set(keys[0], sum(map(int, values)))
            if meddle:
                with pytest.raises(redis.WatchError):
                    pipeline.execute()
            else:
                assert pipeline.execute() == [True]
        assert client.get(keys[0]) == str(GROUPS)


@pytest.mark.parametrize("name", NODES)
def test_commands_and_scripts_that_see_keys_of_several_groups(trio, name, keys):
    one, two, *_, last = keys
    swap = """
    local values = redis.call('MGET', KEYS[1], KEYS[2])
    redis.call('MSET', KEYS[1], values[2], KEYS[2], values[1])
    return values
    """
    with connected(trio[name]) as client:
        client.set(one, "1", ex=100)
        assert client.rename(one, last) is True
        assert client.ttl(last) > 90
        assert client.msetnx({one: "2", last: "3"}) is False
        assert client.copy(last, two) is True
        assert client.eval("return redis.call('INCR', KEYS[2])", 2, one, two) == 2
        assert client.register_script(swap)(keys=[two, last]) == ["2", "1"]
        pipeline = client.pipeline(transaction=True)
        pipeline.rename(two, one)
        pipeline.incr(one)
        pipeline.mget(keys)
        assert pipeline.execute()[:2] == [True, 2]
        assert client.mget(one, two, last) == ["2", None, "2"]


def expected(failure):
    """Whether a client may see this while nodes die."""
    text = str(failure)
    return isinstance(failure, ClusterDownError | TryAgainError) or text.startswith(("UNCERTAIN", "BUSY"))


def transfers(accounts, done, lost, server, number, stop):
    """Moves money between accounts of different groups."""
    dice = random.Random(number)
    with connected(server) as client:
        while not stop.wait(PAUSE_SECONDS):
            giver, taker = dice.sample(accounts, 2)
            pipeline = client.pipeline()
            try:
                pipeline.watch(giver)
                if int(pipeline.get(giver)) < 1:
                    continue
                pipeline.multi()
                pipeline.decr(giver)
                pipeline.incr(taker)
                pipeline.execute()
                done.append(1)
            except redis.WatchError:
                done.append(1)
            except redis.ResponseError as failure:
                if not expected(failure):
                    raise
                lost.append(str(failure))


def audits(accounts, totals, server, number, stop):
    """Adds up all accounts."""
    with connected(server) as client:
        while not stop.is_set():
            try:
                totals.append(sum(map(int, client.mget(accounts))))
            except redis.ResponseError as failure:
                if not expected(failure):
                    raise
            stop.wait(0.01)


def test_a_bank_over_groups_while_leaders_die(trio):
    """Whoever dies: no audit ever finds another sum, and no lock stays."""
    accounts = [key for number in range(3) for key in keys_of_each_group(f"account{number}")]
    with connected(trio["K1"]) as client:
        client.mset(dict.fromkeys(accounts, FUNDS))
    done: list[int] = []
    lost: list[str] = []
    totals: list[int] = []
    workers = [
        *on_every_node(trio, partial(transfers, accounts, done, lost)),
        *on_every_node(trio, partial(audits, accounts, totals)),
    ]
    under_faults(trio, workers, lambda: len(done), (kill, pause, kill))
    assert len(totals) > 20
    assert set(totals) == {FUNDS * len(accounts)}
    wait_until(lambda: all(open_transactions(server) == 0 for server in trio), "all locks are gone", 20)
    with connected(trio["K2"]) as client:
        assert sum(map(int, client.mget(accounts))) == FUNDS * len(accounts)


def test_one_hot_key_in_each_group(trio, keys):
    """Clients of all nodes want the same keys: everybody has a turn."""
    counts = [0] * 12
    stop = threading.Event()

    def run(number):
        with connected(trio[NODES[number % 3]]) as client:
            while not stop.is_set():
                pipeline = client.pipeline(transaction=True)
                pipeline.incr(keys[0])
                pipeline.incr(keys[-1])
                try:
                    pipeline.execute()
                    counts[number] += 1
                except redis.ResponseError as failure:
                    if not isinstance(failure, TryAgainError):
                        raise

    threads = [threading.Thread(target=run, args=(number,)) for number in range(len(counts))]
    for thread in threads:
        thread.start()
    try:
        wait_until(lambda: min(counts) >= 20, "everybody has a turn", 60 * crowding())
    finally:
        stop.set()
        for thread in threads:
            thread.join(CALL_SECONDS)
    with connected(trio["K1"]) as client:
        assert client.mget(keys[0], keys[-1]) == [str(sum(counts))] * 2
