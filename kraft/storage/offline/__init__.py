"""What is done with the directory of a stopped node."""
