"""Who may read the pages: whoever shows a token, or a certificate, where the configuration asks for one.

A token comes as `Authorization: Bearer TOKEN` (RFC 6750), or as the password of HTTP Basic (RFC 7617), for
which a browser asks by itself. Health is for everybody: what probes a node holds no secret.

Tokens are long and random, so nobody guesses one, and a wrong one locks nobody out: not the monitoring that
shares an address with somebody who tries. It costs a comparison and is answered late. Few such answers wait
at a time, so that they take no places from others.
"""

import hmac
from base64 import b64decode
from binascii import Error as NoBase64
from collections.abc import Sequence
from hashlib import sha256
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from kraft.web.limits import WRONG_SECONDS, WRONG_WAITING_MAX
from kraft.web.ports import AccessObserver
from kraft.web.request import PageRequest
from kraft.web.response import Response, text_response

HEALTH = (b"/livez", b"/readyz")
CHALLENGES = (b'Basic realm="kraft", charset="UTF-8"', b'Bearer realm="kraft"')
HOW_TO_ASK = (
    "this page asks for the token of http.token_file: as the password in a browser, with any name, or as"
    " `Authorization: Bearer TOKEN`"
)
NO_CERTIFICATE = "this page asks for a client certificate that a CA of tls.ca has issued"


class Access:
    """Decides about each request. `token` is shown to other nodes, '' if there is none.

    With `certificates` those who have shown a valid certificate need no token. `required`: without tokens,
    it takes a certificate.
    """

    def __init__(
        self,
        clock: IReactorTime,
        observer: AccessObserver,
        tokens: Sequence[bytes] = (),
        *,
        certificates: bool = False,
        required: bool = False,
    ) -> None:
        self._clock = clock
        self._observer = observer
        self._certificates = certificates
        self._required = required
        self._waiting = 0  # answers to wrong tokens
        self.take(tokens)

    def take(self, tokens: Sequence[bytes]) -> None:
        """Accept these tokens from now on."""
        self.token = tokens[0].decode() if tokens else ""
        self._digests = [sha256(token).digest() for token in tokens]

    def refusal(self, request: PageRequest) -> Response | Deferred[Response] | None:
        """The answer to a request that may not read its page; None if it may."""
        if self.permits(request):
            return None
        shown = _shown(request)
        self._observer.http_refused(_address(request), "missing" if shown is None else "wrong")
        if not self._digests:
            return text_response(403, NO_CERTIFICATE)
        if shown is None:
            return _challenge(request)
        if self._waiting >= WRONG_WAITING_MAX:
            return text_response(429, "too many wrong tokens at a time")
        return self._late(_challenge(request))

    def permits(self, request: PageRequest) -> bool:
        """Whether a request may read its page, by the tokens that are accepted now."""
        if not (self._digests or self._required) or request.path in HEALTH:
            return True
        if self._certificates and _has_certificate(request):
            return True
        shown = _shown(request)
        return shown is not None and self._is_right(shown)

    def _is_right(self, shown: bytes) -> bool:
        """Whether it is a token, in a time that depends on neither."""
        digest, right = sha256(shown).digest(), False
        for each in self._digests:
            right |= hmac.compare_digest(digest, each)
        return right

    def _late(self, answer: Response) -> Deferred[Response]:
        self._waiting += 1
        later: Deferred[Response] = Deferred()
        later.addBoth(self._answered)
        self._clock.callLater(WRONG_SECONDS, lambda: None if later.called else later.callback(answer))
        return later

    def _answered(self, result: Any) -> Any:
        """Sent, or the client is gone."""
        self._waiting -= 1
        return result


def _shown(request: PageRequest) -> bytes | None:
    """The token in the request, None without one."""
    scheme, _, credentials = (request.getHeader(b"authorization") or b"").strip().partition(b" ")
    if not scheme:
        return None
    if scheme.lower() != b"basic":
        return credentials.strip()
    try:
        return b64decode(credentials.strip(), validate=True).partition(b":")[2]
    except NoBase64:
        return b""


def _has_certificate(request: PageRequest) -> bool:
    """Whether the client has shown a certificate, which was checked in the TLS handshake."""
    shown = getattr(request.channel.transport, "peer_certificate", None)
    return shown is not None and shown() is not None


def _address(request: PageRequest) -> str:
    peer = request.channel.transport.getPeer()
    return str(getattr(peer, "host", "") or "a local socket")


def _challenge(request: PageRequest) -> Response:
    request.responseHeaders.setRawHeaders(b"www-authenticate", CHALLENGES)
    return text_response(401, HOW_TO_ASK)
