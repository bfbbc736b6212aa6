"""Sets that lie in archives, whose files are read in place."""
