"""The `kraft` command: a demonstration cluster, the state of nodes, and checks.

Nothing here runs in a server. Each subcommand is a module with `add` (its options and help) and `run` (which
does the work and returns the exit status).
"""
