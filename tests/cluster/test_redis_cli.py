"""What redis-cli does with a whole keyspace, and with a script: --scan, --bigkeys, --memkeys, --eval."""

import pytest

from tests.cluster.test_clients import run

pytestmark = pytest.mark.slow

BIG = "the longest one"
SCRIPT = """
local old = redis.call('GET', KEYS[1]) or ''
redis.call('SET', KEYS[1], old .. ARGV[1])
return {KEYS[1], redis.call('GET', KEYS[1]), #ARGV}
"""


@pytest.fixture
def cli(shared_cluster, need):
    """A command line of redis-cli to a node that does not lead."""
    server = shared_cluster.followers()[0]
    with server.client() as client:
        words = [word for number in range(300) for word in (f"page:{number}", "x" * (number % 10 + 1))]
        assert client.call("MSET", *words, BIG, "x" * 5000, "other", "1") == "OK"
    yield [need("redis-cli"), "-p", server.client_port]
    assert server.ask("FLUSHALL") == "OK"


def test_scan(cli):
    keys = run(*cli, "--scan", "--pattern", "page:*").split("\n")[:-1]
    assert sorted(keys) == sorted(f"page:{number}" for number in range(300))
    assert run(*cli, "--scan", "--pattern", "*longest*") == f"{BIG}\n"


@pytest.mark.parametrize("option", ["--bigkeys", "--memkeys"])
def test_the_largest_keys(cli, option):
    report = run(*cli, option)
    assert "Sampled 302 keys in the keyspace!" in report
    [largest] = [line for line in report.splitlines() if line.startswith("Biggest string found")]
    assert BIG in largest
    if option == "--bigkeys":
        assert largest.endswith("has 5000 bytes")
        assert "302 strings with 6651 bytes" in report


def test_a_script_in_a_file(cli, tmp_path):
    script = tmp_path / "append.lua"
    script.write_text(SCRIPT)
    assert run(*cli, "--eval", script, "other", ",", "23", "more") == "other\n123\n2\n"
    broken = tmp_path / "broken.lua"
    broken.write_text("return redis.call('INCR', KEYS[1], 1, 2)")
    assert "Wrong number of args calling Redis command from script" in run(*cli, "--eval", broken, "other")
