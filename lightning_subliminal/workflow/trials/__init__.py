"""Trials: what a plan measures in each of its cells."""
