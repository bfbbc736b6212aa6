"""What `cnnjax` offers to programs and notebooks in Python; see docs/python.md."""
