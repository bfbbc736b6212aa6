"""Linen modules that know no network."""
