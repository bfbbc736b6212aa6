"""Trained networks loaded from the folders of their runs."""
