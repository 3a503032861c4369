"""The frozen lower part of a model, computed once for rows that stay the same."""
