"""Real data: each set with its licence, its source, its SHA-256 and its loader. See ``README.md`` beside this file."""
