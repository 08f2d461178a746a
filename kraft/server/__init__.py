"""The client port: Redis' protocol on Twisted, on top of any `ports.Host`."""
