"""Which nodes vote in which group, where the cluster decides that itself."""
