"""How a cluster forms, which nodes are its members, and how they change."""
