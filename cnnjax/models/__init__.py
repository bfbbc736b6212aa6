"""Architectures, one family a file; `registry` is the list of them."""
