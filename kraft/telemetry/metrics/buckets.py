"""The bounds that durations are counted between, in seconds: 0.5 ms, and doubled up to 8.192 s."""

SECONDS_BUCKETS = tuple(0.0005 * 2**i for i in range(15))
