"""The bounds of histogram buckets."""

SECONDS_BUCKETS = tuple(0.0005 * 2**i for i in range(15))  # 0.5 ms, doubling up to 8.192 s
COUNT_BUCKETS = tuple(float(1 << i) for i in range(13))  # 1 to 4096
