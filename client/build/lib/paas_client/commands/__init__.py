"""The commands, a module for each subject. It has them in `COMMANDS`; `paas_client.main` loads it when it is used."""
