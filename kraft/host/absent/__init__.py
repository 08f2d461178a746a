"""Groups of the cluster that this node has no replica of: where they are, and the requests to them."""
