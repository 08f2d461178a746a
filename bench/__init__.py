"""The benchmark of kraft: the same loads against kraft and the systems it is compared with, in one run.

It is not part of the wheel. Run `python -m bench --help` in a checkout; docs/performance.md explains the
result.
"""
