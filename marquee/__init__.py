"""The command `marquee`. Nothing but the command line is here: what it calls is in the packages beside it."""

__version__ = "0.1.0"
