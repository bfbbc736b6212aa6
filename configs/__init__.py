"""Recipes (`get_config`) over `base`, and `ablations/` (`get_ablation`)."""
