"""The replicated log of one group: entries, terms, durability, configurations in it."""
