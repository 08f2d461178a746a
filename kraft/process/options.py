"""The command line options of `twistd kraft`."""

import difflib
import re
from collections.abc import Sequence
from typing import ClassVar

from twisted.python import usage

from kraft import config as configuration
from kraft.config import ConfigError
from kraft.process.pid_file import PidFile, PidFileRefused


class Options(usage.Options):
    """Either `--config FILE`, or the options of the Java launcher. After parsing, `node` is the `Config`
    and `pid_file` that of twistd."""

    synopsis = "[--config FILE | --id ID --mode MODE ...]"
    longdesc = "One node of a replicated key-value store. See `kraft --help` for the other commands."
    optParameters: ClassVar[list[list[str | None]]] = [
        ["config", "c", None, "The YAML configuration file of the node (docs/configuration.md)."],
        ["id", None, None, "Id of the node, such as K1."],
        ["mode", None, None, "standalone, group-member or standby."],
        ["group-config", None, None, 'All members: "K1,127.0.0.1,10001 K2,127.0.0.1,10002 ...".'],
        ["host", None, None, "Address to listen on (standalone)."],
        ["raft-rpc-port", None, None, "Port for peers (standalone)."],
        ["service-port", None, None, "Port for clients; the HTTP port is this plus 10."],
        ["data-dir", None, None, "Data directory; the default is ./kraft-data/ID."],
    ]

    def parseOptions(self, options: Sequence[str] | None = None) -> None:
        """Parse the options; an unknown one is refused with the one that may have been meant."""
        try:
            super().parseOptions(options)  # type: ignore[no-untyped-call]
        except usage.UsageError as error:
            raise usage.UsageError(f"{error}{self._hint(str(error))}") from None

    def parseArgs(self, *words: str) -> None:
        """Refuse words that belong to no option, such as a file without --config."""
        if words:
            raise usage.UsageError(f"{words[0]!r} belongs to no option; the configuration follows --config")

    def _hint(self, error: str) -> str:
        """`; did you mean --config?` for an error that names an unknown option."""
        named = re.match(r"option (--[\w-]+) not recognized", error)
        known = [f"--{row[0]}" for row in self.optParameters] + ["--help", "--version"]
        close = difflib.get_close_matches(named[1], known, 1) if named else []
        return f"; did you mean {close[0]}?" if close else ""

    def postOptions(self) -> None:
        """Load the configuration, and remove the pid file of a dead process, which twistd looks at next.

        An error is reported before anything starts.
        """
        launcher = {name: value for name, value in self.items() if name != "config" and value}
        try:
            if self["config"]:
                if launcher:
                    raise usage.UsageError("--config stands alone; leave out --" + " --".join(launcher))
                self.node = configuration.load(self["config"])
            else:
                given = {name.replace("-", "_"): value for name, value in launcher.items()}
                self.node = configuration.from_options(configuration.LauncherOptions(**given))
            self.pid_file = PidFile(getattr(self, "parent", {}).get("pidfile") or "")
            self.pid_file.clear()
        except ConfigError as error:
            raise SystemExit("\n".join(f"kraft: {problem}" for problem in error.problems)) from None
        except PidFileRefused as error:
            raise SystemExit(f"kraft: {error}") from None
