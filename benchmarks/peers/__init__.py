"""The same work in torch, to measure against."""
