"""What several verbs share: run folders, listings, reports."""
