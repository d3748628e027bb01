"""What a step's exit status tells the scheduler."""

REFUSED = 2
"""The step refused its arguments (as argparse does), its input or its result: trying again would refuse again."""
