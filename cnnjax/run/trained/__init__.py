"""Trained networks taken out of the folders of their runs."""
