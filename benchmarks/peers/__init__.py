"""Ways to score a night of benchmarks/prompt_bucket.py.

A function `start…` takes a Job and does what is not timed: imports, weights, an engine. It returns a function that
scores one night, from its prompts on disk to its scores on disk.
"""
