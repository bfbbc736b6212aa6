"""Arrays of a run on disk: written whole, verified when read."""
