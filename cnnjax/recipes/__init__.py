"""Which recipe is meant: flags of programs, and the generic recipe."""
