"""What would keep a node from its start, as far as that shows in its configuration, and all at once."""

from kraft.config import Config, ConfigError, Problem
from kraft.process.http_tokens import read_tokens
from kraft.process.open_port import check_first_start
from kraft.process.tls_files import read_tls


def start_problems(config: Config, source: str) -> list[Problem]:
    """The problems of files that it names, and of a first start. `source` is its name in problems."""
    problems: list[Problem] = []
    for check in (read_tls, read_tokens, check_first_start):
        try:
            check(config, source)
        except ConfigError as error:
            problems += error.problems
    return problems
