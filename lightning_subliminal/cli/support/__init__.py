"""Code that several verbs share: run folders, listings, reports."""
