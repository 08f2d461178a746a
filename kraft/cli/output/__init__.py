"""What a subcommand prints: blocks with styles, as plain text or for a terminal with colours."""
