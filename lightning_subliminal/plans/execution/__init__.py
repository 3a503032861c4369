"""Execution: which stage runs when, on which worker, and what the terminal shows of it."""
