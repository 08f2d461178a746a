"""How commands ask the HTTP ports of nodes: with TLS or without, and with the token that they may want."""

import argparse
import http.client
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from kraft.cli import tls_options
from kraft.cli.failure import Failure
from kraft.config import Config, ConfigError
from kraft.process.http_tokens import TOKENS_BYTES_MAX, parse_tokens, read_tokens

if TYPE_CHECKING:
    import ssl

VARIABLE = "KRAFT_HTTP_TOKEN"


@dataclass(frozen=True, slots=True)
class HttpAccess:
    """`security` is for TLS, `token` for nodes with `http.token_file`; None and '' without."""

    security: "ssl.SSLContext | None" = None
    token: str = ""

    def connection(self, host: str, port: int, timeout: float) -> http.client.HTTPConnection:
        """A connection that the first request opens; `timeout` is in seconds."""
        if self.security is None:
            return http.client.HTTPConnection(host, port, timeout=timeout)
        return http.client.HTTPSConnection(host, port, timeout=timeout, context=self.security)

    @property
    def headers(self) -> dict[str, str]:
        """The headers of a request."""
        return {"Authorization": f"Bearer {self.token}"} if self.token else {}


PLAIN = HttpAccess()


def declare(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "--token-file",
        metavar="FILE",
        help=f"the token of nodes with http.token_file is its first line (default ${VARIABLE})",
    )
    tls_options.declare(parser)


def chosen(given: argparse.Namespace, *, by_url: bool) -> HttpAccess:
    """What the options and variables say, or an address (`by_url`). Raises Failure."""
    security = tls_options.chosen(given, by_url=by_url)
    source = given.token_file or VARIABLE
    try:
        if given.token_file:
            with Path(given.token_file).open("rb") as file:
                data = file.read(TOKENS_BYTES_MAX + 1)
        else:
            data = os.environb.get(VARIABLE.encode(), b"")
        asked = bool(given.token_file or data.strip())
        return HttpAccess(security, parse_tokens(data)[0].decode() if asked else "")
    except OSError as error:
        raise Failure(f"{source}: {error.strerror}") from None
    except ValueError as error:
        raise Failure(f"{source} {error}") from None


def of_node(config: Config) -> HttpAccess:
    """How a node of this machine is asked, with its own files. A token that may not be read is left out."""
    security = tls_options.of_node(config, config.http.tls)
    try:
        tokens = read_tokens(config, "")
    except ConfigError:
        tokens = ()
    return HttpAccess(security, tokens[0].decode() if tokens else "")
