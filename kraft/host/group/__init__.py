"""One Raft group's replica on this node, and its checkpoints."""
