"""The tokens of the HTTP port: the lines of `http.token_file`.

Several lines let a token change without a gap: give all nodes a second line with the new one, then those who
ask, then make it the first line and remove the other. A node asks other nodes with its first one.
"""

from pathlib import Path

from kraft.config import Config, ConfigError, Problem

TOKEN_BYTES_MIN = 32  # nobody guesses a random one of that length, so no comparison has to be slow
TOKENS_BYTES_MAX = 64 << 10  # a file that is longer, or that never ends, is another one
TOKENS_MAX = 16
OPTION = "http.token_file"


def read_tokens(config: Config, source: str) -> tuple[bytes, ...]:
    """The tokens in the file that `config` names, none without one. Raises ConfigError.

    `source` is the name of the configuration in problems.
    """
    path = config.http.token_file
    if path is None:
        return ()
    try:
        with Path(path).open("rb") as file:
            return parse_tokens(file.read(TOKENS_BYTES_MAX + 1))
    except OSError as error:
        text = f"{path} cannot be read: {error.strerror} (ls -l {path})"
    except ValueError as error:
        text = f"{path} {error}"
    raise ConfigError((Problem(source, OPTION, text),))


def parse_tokens(data: bytes) -> tuple[bytes, ...]:
    """The tokens in a file: its lines that are not empty. Raises ValueError with what to do."""
    if len(data) > TOKENS_BYTES_MAX:
        raise ValueError(f"is longer than {TOKENS_BYTES_MAX} bytes: is it the right file?")
    tokens = tuple(filter(None, map(bytes.strip, data.splitlines())))
    make = "`openssl rand -hex 32` makes a good one, the same for all nodes"
    if not tokens:
        raise ValueError(f"is empty; {make}")
    if len(tokens) > TOKENS_MAX:
        raise ValueError(f"has {len(tokens)} lines; each is a token, and there are at most {TOKENS_MAX}")
    for number, token in enumerate(tokens, 1):
        if len(token) < TOKEN_BYTES_MIN:
            raise ValueError(f"has a token of {len(token)} bytes, and {TOKEN_BYTES_MIN} are needed; {make}")
        if not all(0x21 <= byte < 0x7F for byte in token):
            raise ValueError(f"has a token with other bytes than visible ASCII (the {number}.); {make}")
    return tokens
