"""Weight files: recognised, read without trust, written."""
