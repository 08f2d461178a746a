"""Sockets as Twisted gives them, for the packages that serve clients and peers. Knows no protocol."""
