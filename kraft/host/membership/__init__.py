"""How a cluster forms, who its members are, and how they change."""
