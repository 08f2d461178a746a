"""Values that a node's parts share: host, storage, telemetry, web and the client port. No behaviour."""
