"""The client port: the Redis protocol on Twisted, on top of any `ports.NodeHost`."""
