"""What `kraft doctor` looks at: small checks that take a `Subject` and yield findings."""
