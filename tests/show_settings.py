"""Prints the warehouse, the registry and its arguments, a line each: what a command of the Makefile finds."""

import sys

from schemas.settings import settings

if __name__ == "__main__":
    print(settings().warehouse, settings().registry, *sys.argv[1:], sep="\n")
