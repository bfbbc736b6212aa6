"""Runs the cells of a plan: in this process, in others, or by SLURM."""
