"""A client port where everybody who reaches it may do everything: what is said about it at a start.

The first start on such a port is refused, unless the configuration allows it by name. A directory that has
data goes on as before, with a warning.
"""

from pathlib import Path

from kraft.config import Config, ConfigError, Problem
from kraft.listen_address import is_loopback, split_address, split_endpoint


def open_option(config: Config) -> str:
    """The option of the port that clients on other machines reach without a certificate; '' if none."""
    client = config.client
    if client.tls == "required" and client.certificates == "required":
        return ""
    listening = {"client.listen": client.listen, "client.shared_listen": client.shared_listen}
    reached = (name for name, listen in listening.items() if listen and _is_open(listen, client.advertise))
    return next(reached, "")


def _is_open(listen: str, advertise: str) -> bool:
    """Whether other machines reach the endpoint `listen`."""
    listener = split_endpoint(listen)
    if "unix" in (listener.kind, listener.domain.lower()):
        return False
    if listener.kind == "systemd":  # only the socket unit knows the address
        return not is_loopback(split_address(advertise)[0])
    return not is_loopback(listener.interface)


def check_first_start(config: Config, source: str) -> None:
    """Raise ConfigError if this start would be the first on an open port with neither users nor TLS.

    A node that waits to be added gets the users of its cluster, and a backup may have users. `source` is the
    name of the configuration in problems.
    """
    client = config.client
    guarded = config.users.file is not None or client.tls == "required"
    elsewhere = config.cluster.standby or config.restore.source is not None
    option = open_option(config)
    if client.unrestricted or guarded or elsewhere or not option or _has_data(config):
        return
    text = (
        f"{config.endpoints[option]} would let everybody who reaches it do everything: name users"
        " (users.file, docs/users.md), or set client.tls and client.certificates to required (docs/tls.md);"
        " or, in a network that you trust, write client.unrestricted: true"
    )
    raise ConfigError((Problem(source, option, text),))


def _has_data(config: Config) -> bool:
    """Whether the directory is that of a node, or not to be read by this user."""
    from kraft.storage.directory import RESTORING_FILE  # with SQLite, which not every command needs
    from kraft.storage.log.files import LOG_FILE

    data = Path(config.node.data)
    try:
        return (data / LOG_FILE).exists() and not (data / RESTORING_FILE).exists()
    except OSError:
        return True
