"""What is fast and what is not: `./launch.sh benchmark --suite=...`.

One file a suite. A suite compares ways of doing the same thing side by side in one
process and reports ratios, because times of this machine say little about another.
"""
