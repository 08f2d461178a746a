"""Whether the files of the section `tls` can be used. The libraries of `kraft[tls]` are imported only for
that.
"""

from typing import TYPE_CHECKING

from kraft.config import Config, ConfigError, Problem

if TYPE_CHECKING:
    from kraft.tls.credentials import Credentials

OFF = "off"
NO_LIBRARIES = "TLS needs libraries that are not installed; pip install cryptography, or set tls to off"


def is_secured(config: Config) -> bool:
    """Whether a port has TLS."""
    return any(port.tls != OFF for port in (config.peer, config.client, config.http))


def read_tls(config: Config, source: str) -> "Credentials | None":
    """The certificates of a node, None if no port needs them. Raises ConfigError with all problems.

    `source` is the name of the configuration in problems.
    """
    if not is_secured(config):
        return None
    try:
        from kraft.tls.connections import load_credentials
        from kraft.tls.credentials import TlsFiles
        from kraft.tls.errors import FilesRefused
    except ImportError:
        raise ConfigError((Problem(source, "tls", NO_LIBRARIES),)) from None
    tls = config.tls
    files = TlsFiles(tls.certificate or "", tls.key or "", tls.ca, tls.crl)
    try:
        return load_credentials(files, tls.minimum, node=None if config.peer.tls == OFF else config.node.id)
    except FilesRefused as error:
        problems = (Problem(source, f"tls.{each.part}", each.text) for each in error.problems)
        raise ConfigError(tuple(problems)) from None
