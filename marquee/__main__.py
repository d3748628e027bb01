"""`python -m marquee`, and the application that spark-submit is given."""

import sys

from marquee.cli import main

if __name__ == "__main__":
    sys.exit(main())
