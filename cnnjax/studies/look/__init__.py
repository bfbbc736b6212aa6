"""Looking inside trained nets: loads them, draws the views, writes the page."""
