"""The HTTP port: metrics, health checks, status, and the status page. It is read-only."""
