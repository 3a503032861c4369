"""Sides of the claims about speed, a module a topic; each lists its ``CLAIMS``."""
