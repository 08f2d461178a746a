"""The HTTP port: metrics, health, status, and one page for people. It only ever reads."""
