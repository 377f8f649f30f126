"""What a technique costs: races between contenders, timed in lockstep."""
