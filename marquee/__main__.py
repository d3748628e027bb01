"""`python -m marquee`, and the application for spark-submit."""

import sys

from marquee.cli import main

if __name__ == "__main__":
    sys.exit(main())
