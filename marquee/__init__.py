"""The command `marquee`. This package is only the command line; the work is in the packages beside it."""

__version__ = "0.1.0"
