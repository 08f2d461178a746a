"""What a page answers."""

from dataclasses import dataclass

TEXT = "text/plain; charset=utf-8"


@dataclass(frozen=True, slots=True)
class Response:
    """Status code, content type, body and Cache-Control header."""

    code: int
    type: str
    body: bytes
    cache_control: str = "no-store"


def text_response(code: int, text: str) -> Response:
    """One line of text."""
    return Response(code, TEXT, text.encode() + b"\n")
