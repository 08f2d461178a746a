"""The owner of all groups of a node: batches, reads, formation, and the order of effects.

It knows time, disk and network only through `ports`, so that the simulator runs this very code.
"""
