"""Other people's implementations behind the names of the contracts."""
