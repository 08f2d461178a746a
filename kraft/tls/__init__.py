"""Certificates: reading and checking them, the contexts of TLS connections, and making them.

pyOpenSSL and cryptography (`kraft[tls]`) are imported here only. Without TLS in its configuration a node
imports none of these modules.
"""
