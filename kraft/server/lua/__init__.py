"""Scripts in Lua 5.1: the leader evaluates them on an overlay of its state."""
