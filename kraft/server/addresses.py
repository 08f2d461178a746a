"""Addresses as text, `host:port`."""


def split_address(address: str) -> tuple[str, int]:
    """Host and port of `host:port` or `[v6]:port`; ("", 0) for an empty one."""
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port or 0)
