"""Files: written whole or not at all, read within bounds of size, time and memory."""
