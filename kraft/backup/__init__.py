"""Backups: images of the state and the shipped log after them, as files. No threads, no sockets."""
