"""Whether the files that a configuration names can be used, with all problems at once."""

from kraft.config import Config, ConfigError, Problem
from kraft.process.http_tokens import read_tokens
from kraft.process.tls_files import read_tls


def file_problems(config: Config, source: str) -> list[Problem]:
    """What would keep the node from its start. `source` is the name of the configuration in problems."""
    problems: list[Problem] = []
    for read in (read_tls, read_tokens):
        try:
            read(config, source)
        except ConfigError as error:
            problems += error.problems
    return problems
