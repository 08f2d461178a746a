"""Consensus of one Raft group, sans-I/O: messages and ticks go in, `Ready` values come out.

Nothing here knows a socket, a disk, a clock or a random source. References are to Ongaro's dissertation
(RD, 2014) and to the extended paper (RP).
"""
