"""Numbers in, intervals and verdicts out: pure functions that know no file and no page."""
