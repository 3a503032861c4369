"""Files: written atomically, and read within bounds of size, time and memory."""
