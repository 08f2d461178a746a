"""Reloading the configuration while the node runs."""

from typing import Protocol

from kraft import config as configuration
from kraft.config import Config, ConfigError
from kraft.process.http_tokens import OPTION, read_tokens
from kraft.server.port import ClientPort
from kraft.telemetry.logs import LogSink
from kraft.telemetry.telemetry import Telemetry
from kraft.web.access import Access


class Reloading(Protocol):
    """A part of the node that reads files of its own."""

    def reload(self, config: Config) -> None:
        """Read them again, or report why not."""


class ConfigReload:
    """Reads the configuration file again and applies the options that may change at run time.

    `clients` is the client port, None until it is open. `security` is None without TLS. `access` is that of
    the HTTP port.
    """

    def __init__(self, config: Config, path: str | None, log: LogSink, telemetry: Telemetry) -> None:
        """`path` is the configuration file, None if the node was started with options."""
        self.clients: ClientPort | None = None
        self.security: Reloading | None = None
        self.access: Access | None = None
        self._config = config
        self._path = path
        self._log = log
        self._telemetry = telemetry

    def reload(self) -> None:
        """Apply the file, or report why not; changed options that need a restart are reported by name."""
        if self._path is None:
            self._telemetry.config_refused("the node was started with options, without a file")
            return
        try:
            read = configuration.load(self._path)
            tokens = read_tokens(read, self._path)
        except ConfigError as error:
            self._telemetry.config_refused(*map(str, error.problems))
            return
        self._config, taken, need_restart = configuration.changes(self._config, read)
        self._log.level = self._config.log.level
        if self.clients is not None:
            self.clients.reconfigure(self._config)
            self._telemetry.connections_limited(self.clients)
        if self.security is not None:
            self.security.reload(self._config)
        if self.access is not None:
            if tokens or not any(name.startswith("http.") for name in need_restart):
                self.access.take(tokens)
            else:  # what is to protect the pages in place of the token waits for the restart
                taken = tuple(name for name in taken if name != OPTION)
                need_restart = (*need_restart, OPTION)
        self._telemetry.config_reloaded(taken, need_restart)
