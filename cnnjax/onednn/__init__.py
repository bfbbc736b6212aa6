"""Convolutions of the oneDNN library as operations of a compiled program on CPU."""
