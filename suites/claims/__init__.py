"""Claims of papers and guides, rerun on real data; each ends in a verdict with an interval."""
