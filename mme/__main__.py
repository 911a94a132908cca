"""``python -m mme``: the same command line as the console script."""

import sys

from mme.cli import main

if __name__ == "__main__":
    sys.exit(main())
