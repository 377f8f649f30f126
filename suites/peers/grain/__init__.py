"""Peers from Grain."""
