"""Images for backups, as this node can give them."""
