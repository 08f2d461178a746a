"""The digest of a value, as the command DIGEST of Redis 8.4 gives it: XXH3, 64 bits, as hexadecimal digits.

XXH3 is a fixed function of the bytes, the same on every machine, so replicas may decide by it.
"""

import xxhash

DIGEST_DIGITS = 16


def digest_of(value: bytes) -> bytes:
    """Its digest, DIGEST_DIGITS lower-case digits."""
    return xxhash.xxh3_64_hexdigest(value).encode()
