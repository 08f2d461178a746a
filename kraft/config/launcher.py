"""The options of the Java launcher as a `Config`, for scripts that start a node the old way.

They include no secret, so they can only make clusters on one machine; others need a configuration file.
"""

from dataclasses import dataclass
from typing import Literal

from kraft.config.kinds import NodeId
from kraft.config.problems import ConfigError, Problem
from kraft.config.rules import RULES, loopback_host
from kraft.config.values import ClientConfig, ClusterConfig, Config, HttpConfig, NodeConfig, PeerConfig
from kraft.listen_address import join_address, split_address

MODES = ("standalone", "group-member", "standby")
HTTP_PORT_OFFSET = 10
SOURCE = "command line"


@dataclass(frozen=True, slots=True)
class LauncherOptions:
    """The options as written; '' for an option that was not given."""

    id: str = ""
    mode: str = "standalone"
    group_config: str = ""  # "K1,127.0.0.1,10001 K2,127.0.0.1,10002 ...": id, host, peer port of every member
    host: str = ""
    raft_rpc_port: str = ""
    service_port: str = ""
    data_dir: str = ""


def from_options(options: LauncherOptions) -> Config:
    """The configuration for these options. Raises ConfigError with all problems."""
    return _Options(options).config()


class _Options:
    def __init__(self, options: LauncherOptions) -> None:
        self.options = options
        self.problems: list[Problem] = []

    def config(self) -> Config:
        options = self.options
        self._check_id()
        self._check_mode()
        members: dict[str, str] = {}
        if options.mode == "group-member":
            members = self._members()
            host, peer_port = self._own(members)
        else:
            host = options.host or "127.0.0.1"
            peer_port = self._port("raft-rpc-port", options.raft_rpc_port, 10001)
        interface = self._interface(host)
        service_port = self._port("service-port", options.service_port, 10011)
        self._finish()
        config = _assemble(options, members, interface, join_address(host, peer_port), service_port)
        for rule in RULES:
            for path, text in rule.broken(config):
                self._add(path, text)
        self._finish()
        return config

    def _add(self, option: str, text: str) -> None:
        self.problems.append(Problem(SOURCE, option, text))

    def _finish(self) -> None:
        if self.problems:
            raise ConfigError(tuple(self.problems))

    def _check_id(self) -> None:
        try:
            NodeId().convert(self.options.id)
        except ValueError as error:
            self._add(
                "--id",
                str(error)
                if self.options.id
                else f"is required, unless --config is given; write {NodeId().form}",
            )

    def _check_mode(self) -> None:
        mode = self.options.mode
        if mode not in MODES:
            self._add("--mode", f"{mode!r} is not a mode; write one of {', '.join(MODES)}")
        unused = ("host", "raft_rpc_port") if mode == "group-member" else ("group_config",)
        for name in unused:
            if getattr(self.options, name):
                self._add(f"--{name.replace('_', '-')}", f"does not go with --mode {mode}; leave it out")

    def _members(self) -> dict[str, str]:
        members: dict[str, str] = {}
        hint = 'write "ID,HOST,PORT ID,HOST,PORT ..."'
        for word in self.options.group_config.split():
            parts = word.split(",")
            if len(parts) != 3:
                self._add("--group-config", f"{word!r} does not have three parts; {hint}")
                continue
            member, host, port = parts
            address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
            try:
                NodeId().convert(member)
                split_address(address)
            except ValueError as error:
                self._add("--group-config", f"{word!r}: {error}")
                continue
            if member in members:
                self._add("--group-config", f"{member} is listed twice; leave one out")
            members[member] = address
        if not self.options.group_config.split():
            self._add("--group-config", f"is required with --mode group-member; {hint}")
        return members

    def _own(self, members: dict[str, str]) -> tuple[str, int]:
        own = members.get(self.options.id)
        if own is None:
            if members:
                text = f"{self.options.id} is not in --group-config; write one of {', '.join(members)}"
                self._add("--id", text)
            return "127.0.0.1", 10001
        return split_address(own)

    def _interface(self, host: str) -> str:
        name: Literal["--group-config", "--host"] = (
            "--group-config" if self.options.mode == "group-member" else "--host"
        )
        try:
            return loopback_host(host, 1)
        except ValueError as error:
            self._add(name, str(error))
            return "127.0.0.1"

    def _port(self, option: str, text: str, default: int) -> int:
        if not text:
            return default
        most = 65_535 - HTTP_PORT_OFFSET if option == "service-port" else 65_535
        if not (text.isascii() and text.isdecimal() and len(text) <= 5 and 1 <= int(text) <= most):
            self._add(f"--{option}", f"{text[:20]!r} is not a port; write 1 to {most}")
            return default
        return int(text)


def _assemble(
    options: LauncherOptions, members: dict[str, str], interface: str, advertise: str, service_port: int
) -> Config:
    peer_port = split_address(advertise)[1]
    http_port = service_port + HTTP_PORT_OFFSET
    return Config(
        node=NodeConfig(options.id, options.data_dir or f"./kraft-data/{options.id}"),
        cluster=ClusterConfig(members, standby=options.mode == "standby"),
        peer=PeerConfig(_listen(interface, peer_port), advertise),
        client=ClientConfig(_listen(interface, service_port), join_address(interface, service_port)),
        http=HttpConfig(_listen(interface, http_port), join_address(interface, http_port)),
    )


def _listen(interface: str, port: int) -> str:
    escaped = interface.replace(":", r"\:")
    kind = "tcp6" if ":" in interface else "tcp"
    return f"{kind}:{port}:interface={escaped}"
