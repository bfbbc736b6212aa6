"""Convolutions and pools of the oneDNN library as operations of programs on CPU."""
