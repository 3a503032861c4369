"""Storage: JSON lines, JSON, CSV, plain text, Parquet and folders of ``datasets``, read and written as streams."""
