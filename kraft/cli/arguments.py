"""Types of arguments for argparse, whose refusals say what is accepted."""

import argparse
from collections.abc import Callable


def whole(least: int, most: int | None = None) -> Callable[[str], int]:
    """The type of a whole number from `least` to `most`; None: without an upper bound."""
    accepted = f"a whole number, {least} or more" if most is None else f"a number from {least} to {most}"

    def parse(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = least - 1
        if value < least or (most is not None and value > most):
            raise argparse.ArgumentTypeError(f"{text!r} is not {accepted}")
        return value

    return parse


def seconds(most: float) -> Callable[[str], float]:
    """The type of a time in seconds above 0, up to `most`."""

    def parse(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = 0.0
        if not 0 < value <= most:
            raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds above 0, up to {most:g}")
        return value

    return parse
