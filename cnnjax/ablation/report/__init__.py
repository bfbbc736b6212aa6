"""Pages, tables and figures from files alone; needs no JAX."""
