"""Storage: rows read from and written to JSON lines, JSON, CSV and Parquet, as streams."""
