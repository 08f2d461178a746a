"""The comparison of all replicas' state at equal indexes."""
