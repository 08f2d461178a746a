"""Configuration: from YAML text to frozen values, with strict checks and all errors at once.

`values` declares every option with its default, unit and limits. `load` and `parse` read YAML, `from_options`
reads the options of the Java launcher.
"""

from kraft.config.changes import CHANGEABLE, changes
from kraft.config.launcher import LauncherOptions, from_options
from kraft.config.loader import load, parse
from kraft.config.problems import ConfigError, Problem
from kraft.config.rules import stays_on_this_machine
from kraft.config.values import (
    ClientConfig,
    ClusterConfig,
    Config,
    HttpConfig,
    LimitsConfig,
    LogConfig,
    NodeConfig,
    PeerConfig,
    RaftConfig,
    TlsConfig,
)

__all__ = [
    "CHANGEABLE",
    "ClientConfig",
    "ClusterConfig",
    "Config",
    "ConfigError",
    "HttpConfig",
    "LauncherOptions",
    "LimitsConfig",
    "LogConfig",
    "NodeConfig",
    "PeerConfig",
    "Problem",
    "RaftConfig",
    "TlsConfig",
    "changes",
    "from_options",
    "load",
    "parse",
    "stays_on_this_machine",
]
