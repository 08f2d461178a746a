"""The composition root: `twistd kraft` joins configuration, storage, links, host and ports, in this order.

One start sequence (lock and open the directory, replay, peers, clients, ready) and one stop sequence (hand
leadership over, stop listening, answer what is pending, close the links, flush and close the database). What
goes wrong at the start is one line and exit status 1. A disk that fails later ends the process on the spot,
because a write or sync that failed cannot be repeated (`os._exit`: an orderly end has status 0, and a service
manager would not start the node again).
"""

import contextlib
import gc
import os
import random
import secrets
import signal
import sys
import time
import traceback
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, NoReturn, cast

from twisted.application.service import Service
from twisted.internet.defer import Deferred, inlineCallbacks
from twisted.internet.endpoints import serverFromString
from twisted.internet.threads import deferToThread
from twisted.logger import ILogObserver
from twisted.python import usage
from twisted.python.logfile import LogFile

from kraft import config as configuration
from kraft.config import Config, ConfigError
from kraft.host.host import Host
from kraft.node.values import Identity, Loaded
from kraft.server.commands.table import NAMES
from kraft.server.factory import Policy, client_factory
from kraft.storage.errors import StorageError
from kraft.storage.store import Store, open_store
from kraft.telemetry import logs
from kraft.telemetry.notify import Supervision
from kraft.telemetry.telemetry import Telemetry
from kraft.transport.limits import LinkLimits
from kraft.transport.links import Links
from kraft.transport.outbound import endpoints
from kraft.web.fetching import Fetcher
from kraft.web.site import site

SWITCH_INTERVAL = 0.000_05  # seconds; with CPython's default the writer thread waits for the reactor's GIL
BACKLOG = 511  # connections not accepted yet; beyond, the kernel lets a client try again a second later
LOG_FILE_BYTES, LOG_FILES_OLD = 10_000_000, 9  # together 100 MB: years of a quiet node


class Options(usage.Options):
    """`twistd kraft --config FILE`, or the options of the Java launcher."""

    synopsis = "[--config FILE | --id ID --mode MODE ...]"
    longdesc = "One node of a replicated key-value store. See `kraft --help` for the other commands."
    optParameters: ClassVar[list[list[str | None]]] = [
        ["config", "c", None, "The node's YAML file (docs/configuration.md)."],
        ["id", None, None, "Node id, such as K1."],
        ["mode", None, None, "standalone, group-member or standby."],
        ["group-config", None, None, 'All members: "K1,127.0.0.1,10001 K2,127.0.0.1,10002 ...".'],
        ["host", None, None, "Host to listen on (standalone)."],
        ["raft-rpc-port", None, None, "Peer port (standalone)."],
        ["service-port", None, None, "Client port; HTTP is this plus 10."],
        ["data-dir", None, None, "Data directory; default ./kraft-data/ID."],
    ]

    def postOptions(self) -> None:
        """Read the configuration, so that a mistake is told before anything starts."""
        launcher = {name: value for name, value in self.items() if name != "config" and value}
        try:
            if self["config"]:
                if launcher:
                    raise usage.UsageError("--config stands alone; leave out --" + " --".join(launcher))
                self.node = configuration.load(self["config"])
            else:
                words = {name.replace("-", "_"): value for name, value in launcher.items()}
                self.node = configuration.from_options(configuration.LauncherOptions(**words))
        except ConfigError as error:
            raise SystemExit("\n".join(f"kraft: {problem}" for problem in error.problems)) from None


def server_endpoint(reactor: Any, description: str) -> Any:
    """Where to listen, in Twisted's words, with room for clients that come all at once (its default: 50)."""
    kind = description.partition(":")[0]
    if kind in ("tcp", "tcp6", "ssl", "unix") and ":backlog=" not in description:
        description += f":backlog={BACKLOG}"
    return serverFromString(reactor, description)


def makeService(options: Options) -> Service:
    """Called by twistd, before it may daemonise: nothing is opened yet, except a log file."""
    from twisted.internet import reactor

    cast(Any, reactor).seconds = steady_seconds
    log_file = _log_file(options.parent, cast(Any, reactor))
    path = options["config"] and str(Path(options["config"]).absolute())
    return NodeService(options.node, cast(Any, reactor), log_file, path)


def _log_file(twistd: Any, reactor: Any) -> LogFile | None:
    """The log file that twistd's own options ask for, None for standard output.

    As twistd would open it: a daemon's is `twistd.log` in the working directory; SIGUSR1 begins a new one.
    """
    path = twistd["logfile"]
    if twistd["syslog"]:
        raise SystemExit("kraft: --syslog is not offered: use --logfile, or -n and what collects its output")
    if twistd["nodaemon"] and path in (None, "-"):
        return None
    if path == "-":
        raise SystemExit("kraft: --logfile - needs -n: a daemon has no standard output")
    try:
        file = LogFile.fromFullPath(path or "twistd.log", LOG_FILE_BYTES, maxRotatedFiles=LOG_FILES_OLD)
    except OSError as error:
        raise SystemExit(f"kraft: log file {error.filename}: {error.strerror}") from None
    signal.signal(signal.SIGUSR1, lambda *_: reactor.callFromThread(file.rotate))
    return cast(LogFile, file)


class CannotStart(Exception):
    """Why, in one line. Raised while twistd starts the service, so that it can tell who started a daemon."""


def steady_seconds() -> float:
    """Seconds at an even pace, whatever the clock is set to, that go on while the machine sleeps."""
    return time.clock_gettime(_STEADY)


_STEADY = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)  # the former is Linux' name for it


class ReactorClock:
    """`host.ports.Clock` on the reactor's timers and the machine's clocks.

    Twisted's own timers follow the wall clock: one that is set back would stop them for as long. So before
    anything is scheduled the reactor is given a steady clock.
    """

    def __init__(self, reactor: Any) -> None:
        self.call_later = reactor.callLater
        self.seconds = steady_seconds

    def wall_ms(self) -> int:
        """Unix time in milliseconds."""
        return time.time_ns() // 1_000_000


class NodeService(Service):
    """One node, from lock to unlock."""

    name = "kraft"

    def __init__(self, config: Config, reactor: Any, log_file: LogFile | None, path: str | None) -> None:
        self._config = config
        self._path = path  # of the configuration file, None without one
        self._reactor = reactor
        self._log_file = log_file
        self._clock = ReactorClock(reactor)
        self._supervision = Supervision(os.environ, self._clock)
        self._store: Store | None = None
        self._clients: Policy | None = None
        self._ports: list[Any] = []

    # -- start ----------------------------------------------------------------------------------------

    def setServiceParent(self, parent: Any) -> None:
        """Joined to twistd's application, which has logged nothing yet: its log becomes a part of ours."""
        Service.setServiceParent(self, parent)
        self._log = logs.configure(self._config.log, self._config.node.id, self._log_file)
        parent.setComponent(ILogObserver, logs.TwistedBridge())
        sys.excepthook = self._uncaught

    def startService(self) -> None:
        """Open the directory, then go on in the reactor. Raises CannotStart, which ends the process."""
        Service.startService(self)
        config, reactor = self._config, self._reactor
        sys.setswitchinterval(SWITCH_INTERVAL)
        self._supervision.opening()
        self._at_terminal = self._log.at_terminal()
        signal.signal(signal.SIGHUP, lambda *_: reactor.callFromThread(self._hung_up))
        self._telemetry = Telemetry(
            config.node.id,
            logs.logger("kraft"),
            peers=[peer for peer in config.cluster.members if peer != config.node.id],
            commands=NAMES,
        )
        secret = self._read_secret()
        try:
            self._store = open_store(
                config.node.data,
                node_id=config.node.id,
                incarnation=lambda: secrets.token_hex(16),
                call_in_reactor=reactor.callFromThread,
                fatal=self._fatal,
                observer=self._telemetry.storage,
            )
        except StorageError as error:
            raise CannotStart(str(error)) from None
        loaded = self._store.loaded
        stored = loaded.identity
        identity = Identity(stored.id, stored.incarnation, stored.cluster, stored.members)
        self.host = Host(
            config,
            Loaded(identity, loaded.groups, loaded.checkpoints, loaded.fenced, loaded.starts),
            clock=self._clock,
            disk=self._store,
            jitter=random.randrange,
            observer=self._telemetry.host,
            raft_observer=self._telemetry.raft,
            fatal=self._fatal,
        )
        limits = LinkLimits(queue_bytes=config.limits.peer_queue_bytes)
        self._links = Links(
            id=config.node.id,
            clock=reactor,
            listening=server_endpoint(reactor, config.peer.listen),
            endpoint_for=endpoints(reactor, limits.connect_timeout),
            secret=secret,
            dice=random.random,
            nonce=lambda: secrets.token_bytes(32),
            receiver=self.host,
            observer=self._telemetry.transport,
            limits=limits,
        )
        self._telemetry.watch(self.host.status, self._store, config.node.data)
        self._telemetry.start(self._clock)
        self._supervision.replaying(self.host.status)
        self.host.start(self._links, self._started)

    def _started(self) -> None:
        if self.running:  # and not told to stop during the replay
            self._guard(self._open_ports())

    def _read_secret(self) -> bytes | None:
        path = self._config.cluster.secret_file
        if path is None:
            return None
        try:
            secret = Path(path).read_bytes().strip()
        except OSError as error:
            raise CannotStart(f"cluster.secret_file {path}: {error.strerror}") from None
        if not secret:
            raise CannotStart(f"cluster.secret_file {path} is empty")
        return secret

    @inlineCallbacks
    def _open_ports(self) -> Any:
        """After the replay: peers first, then clients and HTTP; then the node is ready."""
        config = self._config
        dialling = self._links.start(self.host.first_peers)
        yield self._listening("peer.listen", config.peer.listen, dialling)
        self._clients = client_factory(config, self.host, self._telemetry.server, self._clock)
        self._telemetry.watch_clients(self._clients.clients)
        yield self._listen("client.listen", config.client.listen, self._clients)
        if config.http.listen:
            pages = site(self.host, self._telemetry, self._reactor, Fetcher(self._reactor))
            yield self._listen("http.listen", config.http.listen, pages)
        # What has been loaded by now lives as long as the process, save for some dozens of objects: no
        # collection need look at it.
        gc.freeze()
        self._telemetry.host.event("node_started", client=config.client.listen, http=config.http.listen)
        if self._store is not None and self.running:
            self._supervision.ready(self._store.ping)

    @inlineCallbacks
    def _listen(self, key: str, endpoint: str, factory: Any) -> Any:
        listening = server_endpoint(self._reactor, endpoint).listen(factory)
        port = yield self._listening(key, endpoint, listening)
        self._ports.append(port)

    def _listening(self, key: str, endpoint: str, started: Deferred[Any]) -> Deferred[Any]:
        def taken(failure: Any) -> None:
            self._fatal(f"{key} {endpoint}: {failure.getErrorMessage()}")

        return started.addErrback(taken)

    def _guard(self, started: Deferred[Any]) -> None:
        started.addErrback(lambda failure: self._fatal(failure.getTraceback()))

    def _uncaught(self, kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        """Called by Python for what ends the process; twistd lets an error of the start come this far."""
        if isinstance(error, CannotStart):
            self._tell_end(str(error))
        else:
            self._tell_end("".join(traceback.format_exception(kind, error, trace)))

    def _fatal(self, reason: str) -> NoReturn:
        """The one way out of a running node when going on would be wrong: tell why, and be gone."""
        self._tell_end(reason)
        os._exit(1)

    def _tell_end(self, reason: str) -> None:
        """Once in each place: to who watches standard error, and in the log if that is not the same."""
        self._supervision.failed(reason)
        errors = sys.__stderr__  # sys.stderr leads into the log
        here = self._log.same_place(errors)
        if not here:
            logs.logger("kraft").critical("node_failed", reason=reason)
        if errors is not None:
            mark = self._log.mark("critical") if here else ""
            with contextlib.suppress(OSError):
                errors.write(f"{mark}kraft: {reason}\n")
                errors.flush()

    # -- reload ---------------------------------------------------------------------------------------

    def _hung_up(self) -> None:
        """SIGHUP: read the file again; or the terminal that this node writes to is gone."""
        if self._at_terminal and not self._log.at_terminal():
            self._reactor.stop()
        elif self.running:
            self._supervision.reloading()
            self._reload()
            self._supervision.reloaded()

    def _reload(self) -> None:
        """Take over what may change while the node runs, and name what may not."""
        telemetry = self._telemetry
        if self._path is None:
            telemetry.config_refused("the node was started with options, without a file")
            return
        try:
            read = configuration.load(self._path)
        except ConfigError as error:
            telemetry.config_refused(*map(str, error.problems))
            return
        self._config, taken, need_restart = configuration.changes(self._config, read)
        self._log.level = self._config.log.level
        if self._clients is not None:
            self._clients.clients.reconfigure(self._config)
        telemetry.config_reloaded(taken, need_restart)

    # -- stop -----------------------------------------------------------------------------------------

    @inlineCallbacks
    def stopService(self) -> Any:
        """Stop listening, answer what is pending, close links and database."""
        Service.stopService(self)
        if self._store is None:
            return
        self._telemetry.host.event("node_stopping")
        self._supervision.stopping()
        yield self._handed_over()
        self.host.refuse_peers()
        for port in self._ports:
            yield port.stopListening()
        yield self._drained()
        self.host.abandon()
        yield self._links.stop()
        yield deferToThread(self._store.close)
        self._telemetry.stop()
        self._telemetry.host.event("node_stopped")

    def _handed_over(self) -> Deferred[None]:
        """Fires when this node leads no group any more, or could not pass that on; clients are served on."""
        done: Deferred[None] = Deferred()
        self.host.stop(lambda: done.callback(None))
        return done

    def _drained(self) -> Deferred[None]:
        """Fires when every client is answered and gone, at the latest after the time a write may take."""
        done: Deferred[None] = Deferred()
        if self._clients is not None:
            self._clients.clients.drain(lambda: None if done.called else done.callback(None))
        else:
            done.callback(None)
        return done.addTimeout(self._config.client.write_timeout, self._reactor).addErrback(lambda _: None)
