"""One node as a Twisted service: the only place that starts and stops its parts, and their order.

    start: lock and open the directory, replay the log, open the peer port, the client port, HTTP; then ready
    stop:  transfer leadership, stop listening, answer pending requests, close the links, close the database

A `MultiService` would stop its children all at once, so the parts are not services of their own. An error
during the start ends the process with one line and status 1. A disk that fails later does the same at once,
because a failed write or sync cannot be repeated.
"""

import gc
import os
import random
import secrets
import signal
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred, inlineCallbacks
from twisted.internet.threads import deferToThread
from twisted.logger import ILogObserver
from twisted.python.failure import Failure

from kraft import __version__
from kraft.acl.errors import RuleError
from kraft.config import Config, ConfigError
from kraft.host.host import Host
from kraft.process.backups import BackupThread, backup_settings
from kraft.process.clock import ReactorClock
from kraft.process.endpoints import CannotListen, ServerEndpoint, bound_address
from kraft.process.failure import FLUSH_SECONDS, CannotStart, FailureReporter
from kraft.process.first_restore import restore_first
from kraft.process.log_file import RotatedFile
from kraft.process.memory_limit import memory_limits, memory_use
from kraft.process.memory_watch import MemoryWatch, room_for_data
from kraft.process.open_files import room_for_clients
from kraft.process.open_port import check_first_start, open_option
from kraft.process.page_access import page_access
from kraft.process.pid_file import PidFile
from kraft.process.reload import ConfigReload
from kraft.process.secret import exposed_mode, read_secret
from kraft.process.signals import StopSignals, on_signal, on_stack_request
from kraft.process.state_report import state_report
from kraft.process.supervision import supervisor_of
from kraft.process.tls_files import read_tls
from kraft.server.acl_file import acl_file
from kraft.server.capacity import Capacity
from kraft.server.commands.table import NAMES
from kraft.server.factory import client_factory
from kraft.server.port import ClientPort
from kraft.storage.errors import StorageError
from kraft.storage.store import Store, open_store
from kraft.tcp.keepalive import keep_alive
from kraft.telemetry import logs
from kraft.telemetry.notify import Notifier
from kraft.telemetry.telemetry import Telemetry
from kraft.transport.endpoints import endpoints
from kraft.transport.limits import LinkLimits
from kraft.transport.links import Links
from kraft.web.fetcher import Fetcher
from kraft.web.limits import KEEPALIVE_SECONDS
from kraft.web.site import Site

if TYPE_CHECKING:
    from kraft.process.node_security import NodeSecurity

SWITCH_INTERVAL = 0.000_05  # seconds; with CPython's 5 ms the writer thread waits too long for the GIL


class NodeService(Service):
    """One node, from the lock of its directory to its release."""

    name = "kraft"

    def __init__(
        self,
        config: Config,
        path: str | None,
        reactor: Any,
        log_file: RotatedFile | None,
        pid_file: PidFile,
    ) -> None:
        """`path` is the configuration file, None without one; `log_file` None means standard output."""
        self._config = config
        self._path = path
        self._reactor = reactor
        self._log_file = log_file
        self._pid_file = pid_file
        self._clock = ReactorClock(reactor)
        self._notifier = Notifier(os.environ, self._clock)
        self._store: Store | None = None
        self._clients: ClientPort | None = None
        self._backups: BackupThread | None = None
        self._ports: list[Any] = []  # listening ports of clients and HTTP

    # -- start ----------------------------------------------------------------------------------------

    def setServiceParent(self, parent: Any) -> None:
        """Set up logging before twistd logs anything: Twisted's log becomes a part of ours."""
        Service.setServiceParent(self, parent)
        config = self._config
        self._log = logs.configure(config.log, config.node.id, self._log_file)
        if self._log_file is not None:
            on_signal(signal.SIGUSR1, self._reactor, partial(self._log.run, self._log_file.rotate))
        parent.setComponent(ILogObserver, logs.TwistedBridge())
        self._failure = FailureReporter(self._log, self._notifier)
        sys.excepthook = self._failure.uncaught

    def startService(self) -> None:
        """Open the directory, then go on in the reactor. Raises CannotStart, which ends the process."""
        Service.startService(self)
        config = self._config
        sys.setswitchinterval(SWITCH_INTERVAL)
        self._pid_file.hold()
        self._log.start()
        self._reactor.addSystemEventTrigger("after", "shutdown", self._log.finish, FLUSH_SECONDS)
        self._notifier.opening()
        self._at_terminal = self._log.at_terminal()
        peers = [peer for peer in config.cluster.members if peer != config.node.id]
        self._telemetry = Telemetry(
            logs.logger("kraft"), peers=peers, commands=NAMES, groups=range(config.cluster.groups)
        )
        program = str(Path(sys.argv[0]).absolute())
        self._telemetry.started_by(
            supervisor_of(os.environ, (os.getpid(), os.getppid()), program, self._path or "")
        )
        self._telemetry.watch_log(self._log)
        self._telemetry.watch_changes(self._notifier.changed)
        self._telemetry.start_progress.watch(self._start_progressed)
        self._telemetry.events.log("node_starting", version=__version__, data=config.node.data)
        self._reload = ConfigReload(config, self._path, self._log, self._telemetry)
        StopSignals(self._reactor)
        on_signal(signal.SIGHUP, self._reactor, self._hung_up)
        on_signal(signal.SIGUSR2, self._reactor, self._report_state)
        on_stack_request(self._telemetry.stacks_asked)
        self._connections = room_for_clients()
        secret = self._read_secret()
        self._check_first_start()
        restore_first(config, self._telemetry)
        self._security = self._reload.security = self._secure()
        self._access = self._reload.access = page_access(
            config, self._path or "", self._reactor, self._telemetry
        )
        store = self._store = self._open_store()
        self._host = self._make_host(store)
        self._links = self._make_links(secret)
        self._telemetry.watch(self._host, store, config.node.data)
        self._telemetry.start(self._clock)
        self._notifier.replaying(self._host)
        self._backups = self._make_backups(store)
        self._host.start(self._links, self._replayed)

    def _check_first_start(self) -> None:
        try:
            check_first_start(self._config, self._path or "")
        except ConfigError as error:
            raise CannotStart(str(error)) from None

    def _read_secret(self) -> bytes | None:
        path = self._config.cluster.secret_file
        secret = read_secret(path)
        if path is not None and (mode := exposed_mode(path)):
            self._telemetry.events.log("secret_exposed", file=path, mode=mode, mend=f"chmod o= {path}")
        return secret

    def _secure(self) -> "NodeSecurity | None":
        """TLS, if a port has it. Raises CannotStart."""
        try:
            credentials = read_tls(self._config, self._path or "")
        except ConfigError as error:
            raise CannotStart(str(error)) from None
        if credentials is None:
            return None
        from kraft.process.node_security import NodeSecurity  # libraries that nodes without TLS may not have

        return NodeSecurity(self._config, self._path, self._clock, self._telemetry.tls, credentials)

    def _open_store(self) -> Store:
        try:
            return open_store(
                self._config.node.data,
                node_id=self._config.node.id,
                incarnation=lambda: secrets.token_hex(16),
                call_in_reactor=self._reactor.callFromThread,
                fatal=self._failure.exit,
                observer=self._telemetry.storage,
            )
        except StorageError as error:
            self._failure.refuse(error)

    def _start_progressed(self, progress: str) -> None:
        self._log.write_in_place(f"{self._config.node.id} {progress}")
        self._notifier.progressed(progress)

    def _make_host(self, store: Store) -> Host:
        return Host(
            self._config,
            store.loaded,
            clock=self._clock,
            disk=store,
            jitter=random.randrange,
            observer=self._telemetry.host,
            raft_observer=self._telemetry.raft,
            fatal=self._failure.exit,
        )

    def _make_backups(self, store: Store) -> BackupThread | None:
        settings = backup_settings(self._config.backup)
        if settings is None:
            return None
        call = self._reactor.callFromThread
        backups = BackupThread(settings, self._host, store, call, self._telemetry.backups)
        self._host.use_backups(backups)
        return backups

    def _make_links(self, secret: bytes | None) -> Links:
        config = self._config
        limits = LinkLimits(queue_bytes=config.limits.peer_queue_bytes)
        return Links(
            id=config.node.id,
            clock=self._reactor,
            listening=self._endpoint("peer.listen", limits.waiting_links),
            endpoint_for=endpoints(self._reactor, limits.connect_timeout),
            secret=secret,
            dice=random.random,
            nonce=lambda: secrets.token_bytes(32),
            receiver=self._host.peer_receiver,
            observer=self._telemetry.transport,
            limits=limits,
            security=None if self._security is None else self._security.links,
        )

    def _endpoint(self, option: str, waiting_max: int | None = None) -> ServerEndpoint:
        """The endpoint that an option names, with TLS if its port has that."""
        security = None if self._security is None else self._security.ports.get(option.partition(".")[0])
        listen, shared = self._config.endpoints[option], option == "client.shared_listen"
        return ServerEndpoint(self._reactor, listen, waiting_max, security, shared=shared)

    def _replayed(self) -> None:
        """The log is replayed. Open the ports, unless the node was told to stop meanwhile."""
        if self.running:
            self._open_ports().addErrback(self._broken)

    @inlineCallbacks
    def _open_ports(self) -> Any:
        """Open the ports for peers, clients and HTTP, in this order; then the node is ready."""
        config = self._config
        dialling = self._links.start(self._host.peers.first_peers)
        yield dialling.addErrback(self._cannot_listen, "peer.listen")
        limits, data = memory_limits(), self._host.memory.measure()
        room = room_for_data(limits, memory_use(), data, config.raft.tail_bytes)
        capacity = Capacity(self._connections, room)
        factory = client_factory(
            config, self._host, self._telemetry.server, self._clock, capacity, in_thread=deferToThread
        )
        self._clients = self._reload.clients = factory.port
        self._read_users(factory.port)
        if (option := open_option(config)) and not factory.port.users.defined:
            self._telemetry.events.log("clients_unrestricted", listen=config.endpoints[option])
        self._telemetry.watch_clients(factory.port)
        self._telemetry.connections_limited(factory.port)
        self._telemetry.memory_limited(limits[0].size, limits[0].source, factory.port)
        MemoryWatch(limits, memory_use, self._clock, factory.port, self._telemetry).start()
        keepalive = config.client.tcp_keepalive
        listening = {"client": (yield self._listen("client.listen", factory, keepalive)), "http": ""}
        if config.client.shared_listen:
            listening["shared"] = yield self._listen("client.shared_listen", factory, keepalive)
        if config.http.listen:
            fetches = None if self._security is None else self._security.fetches
            fetch = Fetcher(self._reactor, self._access, fetches)
            pages = Site(self._host, self._telemetry, self._reactor, fetch, self._access)
            listening["http"] = yield self._listen("http.listen", pages, KEEPALIVE_SECONDS)
        if self._security is not None:
            self._security.start()
        # Nearly all objects that exist by now live as long as the process: spare the collector the work.
        gc.freeze()
        if self._backups is not None and self.running:
            self._backups.start()
        self._telemetry.host.event("node_started", **listening)
        if self._store is not None and self.running:
            self._notifier.ready(self._store)

    def _read_users(self, port: ClientPort) -> None:
        """Let the users of `users.file` be in force, if the cluster has never had any."""
        path = self._config.users.file
        if path is None or port.users.revision:
            return
        try:
            port.users.found(acl_file(path, port.users.catalog, self._config.users).read())
        except RuleError as error:
            self._failure.exit(f"users.file: {error}")

    @inlineCallbacks
    def _listen(self, option: str, factory: Any, keepalive: float) -> Any:
        """Listen on the endpoint of an option; returns where that is."""
        port = yield self._endpoint(option).listen(factory).addErrback(self._cannot_listen, option)
        keep_alive(port, keepalive)
        self._ports.append(port)
        return bound_address(port)

    def _cannot_listen(self, failure: Failure, option: str) -> None:
        failure.trap(CannotListen)
        self._failure.exit(f"{option} {self._config.endpoints[option]}: {failure.getErrorMessage()}")

    def _broken(self, failure: Failure) -> None:
        self._failure.exit(failure.getTraceback())

    # -- reload ---------------------------------------------------------------------------------------

    def _hung_up(self) -> None:
        """SIGHUP: reload the configuration, or stop if the terminal that this node logs to is gone."""
        if not self.running:
            return
        if self._at_terminal and not self._log.at_terminal():
            self._reactor.stop()
        else:
            self._notifier.reloading()
            self._reload.reload()
            self._notifier.reloaded()

    def _report_state(self) -> None:
        """SIGUSR2: log the state of the node in one event."""
        if self._store is not None and not self._store.closed:
            clients = 0 if self._clients is None else len(self._clients.sessions)
            fields = state_report(self._host.status(), clients, self._store.queues(), self._store.sizes())
            self._telemetry.events.log("state_report", **fields)

    # -- stop -----------------------------------------------------------------------------------------

    @inlineCallbacks
    def stopService(self) -> Any:
        """Transfer leadership, stop listening, answer pending requests, then close links and database."""
        Service.stopService(self)
        if self._store is None:
            return
        self._telemetry.host.event("node_stopping")
        self._notifier.stopping()
        yield self._leadership_transferred()
        self._host.refuse_peers()
        if self._security is not None:
            self._security.stop()
        for port in self._ports:
            yield port.stopListening()
        yield self._drained()
        if self._backups is not None:
            yield deferToThread(self._backups.stop)
        self._host.abandon()
        yield self._links.stop()
        yield deferToThread(self._store.close)
        self._telemetry.stop()
        self._telemetry.host.event("node_stopped")

    def _leadership_transferred(self) -> Deferred[None]:
        """Fires when this node leads no group, or cannot transfer the rest. It still serves clients."""
        done: Deferred[None] = Deferred()
        self._host.stop(lambda: done.callback(None))
        return done

    def _drained(self) -> Deferred[None]:
        """Fires when all clients have their replies and are gone, at the latest after `write_timeout`."""
        done: Deferred[None] = Deferred()
        if self._clients is None:
            done.callback(None)
        else:
            self._clients.drain(lambda: None if done.called else done.callback(None))
        return done.addTimeout(self._config.client.write_timeout, self._reactor).addErrback(lambda _: None)
