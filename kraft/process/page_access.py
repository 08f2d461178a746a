"""Who may read the pages of the HTTP port, as the configuration says."""

from twisted.internet.interfaces import IReactorTime

from kraft.config import Config, ConfigError
from kraft.process.failure import CannotStart
from kraft.process.http_tokens import read_tokens
from kraft.process.secret import exposed_mode
from kraft.telemetry.telemetry import Telemetry
from kraft.web.access import Access


def page_access(config: Config, source: str, clock: IReactorTime, telemetry: Telemetry) -> Access:
    """The access to the pages of a node. Raises CannotStart. `source` names the configuration in problems."""
    http = config.http
    try:
        tokens = read_tokens(config, source)
    except ConfigError as error:
        raise CannotStart(str(error)) from None
    if http.token_file is not None and (mode := exposed_mode(http.token_file)):
        mend = f"chmod o= {http.token_file}"
        telemetry.events.log("secret_exposed", file=http.token_file, mode=mode, mend=mend)
    asks, required = http.certificates != "none", http.certificates in ("except_health", "required")
    return Access(clock, telemetry, tokens, certificates=asks, required=required)
