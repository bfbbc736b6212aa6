"""Names of layers in other libraries, one file per family."""
