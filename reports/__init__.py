"""What it all means: run folders in; tables, statistics, verdicts, plots and one self-contained HTML page out."""
