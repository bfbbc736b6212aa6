"""One training here and in torch, step by step, with everything random in a file."""
