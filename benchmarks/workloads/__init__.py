"""Workloads: sized inputs and the step that is timed, one module per technique."""
