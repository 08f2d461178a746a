"""The file with the tokens of the HTTP port: what it may hold, and what is said about anything else."""

import json

import pytest

from kraft.cli.main import main
from kraft.config import ConfigError, load
from kraft.process.http_tokens import TOKENS_BYTES_MAX, TOKENS_MAX, parse_tokens, read_tokens

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
