"""Analysis: estimates with their intervals, claims and their verdicts, figures as data."""
