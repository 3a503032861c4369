"""Layouts: the schemas of the field, and the parsers of messages, batches and evaluation results."""
