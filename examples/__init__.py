"""Modules of a user, to try `--implementation` with."""
