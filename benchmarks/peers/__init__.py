"""The same work in torch, for comparison."""
