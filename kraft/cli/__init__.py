"""The `kraft` command: a demonstration cluster, the state of nodes, checks of configuration files.

Nothing here runs inside a server. A command is one module with `add` (its options and help) and `run` (its
work, returning the exit status); `main` only joins them.
"""
