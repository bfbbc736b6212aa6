"""Names of layers in other libraries, one family a file."""
