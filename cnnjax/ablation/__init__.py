"""Ablations: a question, its runs, its verdicts and its report."""
