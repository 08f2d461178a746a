"""The transfer of a state file from a node that has it to one that needs it."""
