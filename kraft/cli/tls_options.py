"""TLS of the commands that ask nodes: the options, and the context that they lead to.

The names are those of redis-cli. Python's own `ssl` suffices for a client, and is imported only for TLS.
"""

import argparse
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kraft.cli.failure import Failure

if TYPE_CHECKING:
    import ssl

    from kraft.config import Config

VARIABLES = {"cacert": "KRAFT_CACERT", "cert": "KRAFT_CERT", "key": "KRAFT_KEY"}
SWITCH = "KRAFT_TLS"
SCHEMES = ("https://", "rediss://")


@dataclass(frozen=True, slots=True)
class TlsOptions:
    """The files of a client; without `cacert`, the CAs of the system count."""

    cacert: str = ""
    cert: str = ""
    key: str = ""

    def context(self, *, check_host: bool = True) -> "ssl.SSLContext":
        """The context of connections. Raises Failure if the files cannot be used."""
        import ssl

        try:
            context = ssl.create_default_context(cafile=self.cacert or None)
            context.check_hostname = check_host
            context.minimum_version = ssl.TLSVersion.TLSv1_2
            if self.cert or self.key:
                context.load_cert_chain(self.cert or self.key, self.key or None)
        except (OSError, ValueError) as error:
            files = ", ".join(filter(None, (self.cacert, self.cert, self.key)))
            raise Failure(f"{files}: {getattr(error, 'strerror', None) or error}") from None
        return context


def declare(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    group = parser.add_argument_group("TLS")
    group.add_argument(
        "--tls",
        action="store_true",
        help=f"use TLS (also by {' or '.join(SCHEMES)}, ${SWITCH}=1, or an option below)",
    )
    group.add_argument(
        "--cacert",
        dest="tls_cacert",
        metavar="FILE",
        help=f"the CA of the nodes (default ${VARIABLES['cacert']})",
    )
    group.add_argument(
        "--cert", dest="tls_cert", metavar="FILE", help=f"your certificate (default ${VARIABLES['cert']})"
    )
    group.add_argument("--key", dest="tls_key", metavar="FILE", help=f"its key (default ${VARIABLES['key']})")


def is_secure(address: str) -> bool:
    """Whether an address is a URL that asks for TLS."""
    return address.strip().lower().startswith(SCHEMES)


def chosen(given: argparse.Namespace, *, by_url: bool) -> "ssl.SSLContext | None":
    """The context that the options or variables ask for, or an address (`by_url`); None without TLS."""
    typed = {name: getattr(given, f"tls_{name}") or "" for name in VARIABLES}
    asked = given.tls or any(typed.values()) or os.environ.get(SWITCH, "") not in ("", "0")
    held = {name: text or os.environ.get(VARIABLES[name], "") for name, text in typed.items()}
    if not (asked or by_url or any(held.values())):
        return None
    return TlsOptions(**held).context()


def of_node(config: "Config", mode: str) -> "ssl.SSLContext | None":
    """The context to ask a port of this machine's node, whose `tls` is `mode`, with its own files.

    The name of the host is not compared: the address is that of this machine, and the CA that of the cluster.
    """
    if mode == "off" or config.tls.ca is None:
        return None
    files = TlsOptions(config.tls.ca, config.tls.certificate or "", config.tls.key or "")
    return files.context(check_host=False)
