"""Execution of stages: their order, their workers, and progress in the terminal."""
