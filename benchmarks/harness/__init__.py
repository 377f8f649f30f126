"""The harness: a preloaded server, forked workers, and the coordinator that runs their rounds in lockstep."""
