"""`kraft shell`: commands that a person types or a file holds, and the cluster's replies as text."""
