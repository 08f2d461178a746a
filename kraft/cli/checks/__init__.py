"""The checks of `kraft doctor`: each takes a `Subject` and yields results."""
