"""The file with the tokens of the HTTP port: what it may hold, and what is said about anything else."""

import argparse
import json
from types import SimpleNamespace
from typing import Any

import pytest

from kraft.cli import http_access
from kraft.cli.failure import Failure
from kraft.cli.main import main
from kraft.config import ConfigError, load
from kraft.process.http_tokens import TOKENS_BYTES_MAX, TOKENS_MAX, parse_tokens, read_tokens
from kraft.process.reload import ConfigReload

ONE, TWO = b"1" * 32, b"2" * 64


@pytest.mark.parametrize(
    ("data", "tokens"),
    [
        (ONE, (ONE,)),
        (ONE + b"\n", (ONE,)),
        (b"\n" + ONE + b"\r\n\n  " + TWO + b"  \n", (ONE, TWO)),
    ],
)
def test_each_line_is_a_token(data, tokens):
    assert parse_tokens(data) == tokens


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"", "is empty; `openssl rand -hex 32` makes a good one"),
        (b" \n\n", "is empty"),
        (b"secret", "has a token of 6 bytes, and 32 are needed"),
        (ONE + b"\nsecret", "has a token of 6 bytes"),
        (ONE + b" " + ONE, "other bytes than visible ASCII"),
        (b"\xff" * 32, "other bytes than visible ASCII"),
        (b"\n".join([ONE] * (TOKENS_MAX + 1)), f"has {TOKENS_MAX + 1} lines"),
        (ONE * TOKENS_BYTES_MAX, "is it the right file"),
    ],
)
def test_anything_else_is_refused_with_what_to_do(data, told):
    with pytest.raises(ValueError, match=told):
        parse_tokens(data)


@pytest.fixture
def config(tmp_path):
    """`config(line)`: a configuration whose section http has it."""

    def write(line):
        file = tmp_path / "kraft.yaml"
        file.write_text("node: {id: K1, data: data}\n" + f"http: {line}\n")
        return str(file)

    return write


def test_a_file_that_cannot_be_read_is_a_problem_of_its_option(config, tmp_path, capsys):
    """At a start, and in `kraft check-config`, beside all others."""
    file = config("{token_file: token}")
    with pytest.raises(ConfigError, match=r"http\.token_file: .*/token cannot be read: No such file"):
        read_tokens(load(file), file)
    assert main(["check-config", "--json", file]) == 1
    [problem] = json.loads(capsys.readouterr().out)["problems"]
    assert problem["option"] == "http.token_file"
    (tmp_path / "token").write_bytes(ONE)
    assert main(["check-config", file]) == 0


def test_a_token_beside_a_certificate_that_every_connection_needs_is_refused(config, tmp_path):
    """It would let nobody in."""
    files = "tls: {certificate: c, key: k, ca: a}\n"
    path = config("{token_file: token, tls: required, certificates: required}\n" + files)
    with pytest.raises(ConfigError, match=r"set http\.certificates to except_health"):
        load(path)
    assert load(config("{token_file: token, tls: required, certificates: except_health}\n" + files))


def test_a_reload_keeps_the_token_until_what_replaces_it_is_in_force(config, tmp_path):
    """`http.certificates` waits for a restart: until then, everybody could read the pages without it."""
    (tmp_path / "token").write_bytes(ONE)
    files = "tls: {certificate: c, key: k, ca: a}\n"
    path = config("{token_file: token, tls: required, certificates: optional}\n" + files)
    told: list[Any] = []
    given: list[Any] = []
    telemetry: Any = SimpleNamespace(config_reloaded=lambda *names: told.append(names))
    log: Any = SimpleNamespace(level="info")
    access: Any = SimpleNamespace(take=given.append)
    reload = ConfigReload(load(path), path, log, telemetry)
    reload.access = access
    config("{tls: required, certificates: except_health}\n" + files)
    reload.reload()
    assert told == [((), ("http.certificates", "http.token_file"))]
    assert not given
    config("{tls: required, certificates: optional}\n" + files)
    reload.reload()
    assert given == [()]


def test_the_variable_may_hold_the_whole_file(monkeypatch):
    """While a token changes, that is two lines. What is wrong with it is told without it."""
    parser = argparse.ArgumentParser()
    http_access.declare(parser)
    monkeypatch.setenv("KRAFT_HTTP_TOKEN", f"{ONE.decode()}\n{TWO.decode()}\n")
    assert http_access.chosen(parser.parse_args([]), by_url=False).token == ONE.decode()
    monkeypatch.setenv("KRAFT_HTTP_TOKEN", "secret")
    with pytest.raises(Failure, match=r"^KRAFT_HTTP_TOKEN has a token of 6 bytes") as refused:
        http_access.chosen(parser.parse_args([]), by_url=False)
    assert "secret" not in str(refused.value)
