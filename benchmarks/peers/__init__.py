"""Ways to score a night of benchmarks/prompt_bucket.py, each in a file of its own.

The `start` of a file takes a Job and makes ready: imports, weights, an engine. What it returns scores one night, from
its prompts on disk to its scores on disk, and is what the clock measures.
"""
