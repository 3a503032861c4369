"""Recipes of the pocket bases, and their quality cards."""
