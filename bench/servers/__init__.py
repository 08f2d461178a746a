"""Programs that exist to be timed beside kraft; each runs as a process of its own."""
