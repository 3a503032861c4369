"""Layouts: what a row looks like in each of the field's formats, and the schema that recognises it."""
