"""Section `start` of a config: where the weights come from, as names and digests."""
