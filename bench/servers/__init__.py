"""Programs that are measured beside kraft; each runs in a process of its own."""
