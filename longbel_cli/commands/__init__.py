"""One module a command: flags, help and printing; the work is done elsewhere."""
