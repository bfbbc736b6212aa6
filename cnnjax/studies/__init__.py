"""What is found out about a config besides training it: one study a file."""
