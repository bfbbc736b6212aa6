"""What layers compute, as functions: no modules, no parameters."""
