"""What the net of a run sees: preparation, views, and whether reading keeps up."""
