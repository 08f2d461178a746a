"""How long the words of a request may be."""

from kraft.resp.values import OversizedRequest, Request
from kraft.server import errors
from kraft.server.commands.spec import AnySpec
from kraft.server.errors import Rejected
from kraft.server.port import ClientPort


class RequestLimits:
    """The limits of one port. A request of `small_bytes` has neither a key nor a value over its limit."""

    def __init__(self, port: ClientPort) -> None:
        self._limits = limits = port.limits
        self.small_bytes = min(limits.key_bytes, limits.value_bytes, limits.request_bytes)

    def check(self, spec: AnySpec, request: Request, size: int) -> None:
        """Raise Rejected if a key or a value of the request, or all of its `size` bytes, are too long."""
        if size <= self.small_bytes and type(request) is not OversizedRequest:
            return
        lengths = request.lengths if type(request) is OversizedRequest else list(map(len, request))
        limits = self._limits
        keys = spec.key_places(request)
        for place, length in enumerate(lengths):
            if place in keys:
                if length > limits.key_bytes:
                    raise Rejected(errors.over_limit("key", limits.key_bytes))
            elif length > limits.value_bytes:
                raise Rejected(errors.over_limit("value", limits.value_bytes))
        if sum(lengths) > limits.request_bytes:
            raise Rejected(errors.over_limit("request", limits.request_bytes))
