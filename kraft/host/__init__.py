"""The owner of all groups of a node: requests, membership, snapshots, and the order of effects.

It knows time, disk and network only through `ports`, so that the simulator runs this very code.
"""
