"""Benchmarks: `./launch.sh benchmark --suite=...`.

There is one file per suite. A suite compares ways of doing the same work in one process
and reports ratios, because times of one machine say little about another.
"""
