"""Prints the warehouse, the registry and its arguments, one per line, as a command of the Makefile sees them."""

import sys

from schemas.settings import settings

if __name__ == "__main__":
    print(settings().warehouse, settings().registry, *sys.argv[1:], sep="\n")
