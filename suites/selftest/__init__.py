"""Tests of Touchstone itself: its statistics, its harness, its reports, and the sharpness of its properties."""
