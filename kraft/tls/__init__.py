"""Certificates: reading and checking them, the contexts of TLS connections, and making them.

cryptography (`kraft[tls]`) is imported here, and for backups. Without TLS in its configuration a node
imports none of these modules.
"""
