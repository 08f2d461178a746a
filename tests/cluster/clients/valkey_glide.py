"""valkey-glide, unchanged: python valkey_glide.py PREFIX PORT [PORT ...]. Prints `ok`, or why it fails."""

import asyncio
import sys

from glide import ClosingError, GlideClient, GlideClientConfiguration, NodeAddress


async def main(prefix: str, ports: list[int]) -> None:
    addresses = [NodeAddress("127.0.0.1", port) for port in ports]
    try:
        client = await GlideClient.create(GlideClientConfiguration(addresses, request_timeout=20_000))
    except ClosingError as refusal:
        sys.exit(str(refusal))
    assert await client.set(prefix, "hello") == "OK"
    assert await client.get(prefix) == b"hello"
    assert await client.incr(f"{prefix}:n") == 1
    assert await client.mget([prefix, f"{prefix}:missing"]) == [b"hello", None]
    assert await client.delete([prefix, f"{prefix}:n"]) == 2
    await client.close()
    sys.stdout.write("ok\n")


asyncio.run(main(sys.argv[1], [int(port) for port in sys.argv[2:]]))
