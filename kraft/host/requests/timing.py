"""The bounds that the configuration sets for requests of clients."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Timing:
    """Times are in seconds.

    `write_timeout`: a write without an outcome is then refused or uncertain. `leader_wait`: how long requests
    wait for a leader. `round_timeout`: a read round without a confirmation is then repeated. `batch_bytes`
    bounds one entry of client writes, `batches_in_flight` the entries logged and not applied yet. `lease` is
    how long a confirmed round serves later reads, 0 without leases. `max_clock_offset` is how far a clock, or
    log time, may be off the median of the voters' clocks.
    """

    write_timeout: float
    leader_wait: float
    round_timeout: float
    election_ticks: int
    batch_bytes: int
    batches_in_flight: int
    lease: float = 0.0
    max_staleness: float = 10.0
    max_clock_offset: float = 1.0
