"""From the files of runs to statistics and verdicts; needs no JAX."""
