"""One-off runs: a command in a container of the current release. A row says what was wished; nobody waits for the end."""
