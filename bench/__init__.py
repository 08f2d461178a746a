"""The benchmark of kraft: the same loads against kraft and what it is compared with, in one run.

Not part of the wheel. `python -m bench --help` from a checkout;
docs/performance.md says how to read the result.
"""
