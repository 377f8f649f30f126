"""Mutation testing: what the properties of a technique see of small changes to its reference."""
