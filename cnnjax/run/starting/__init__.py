"""How a run begins where another ended: the weights it takes and what of it trains."""
