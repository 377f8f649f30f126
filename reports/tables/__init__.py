"""Run folders as tidy tables."""
