"""`python -m helpers.grading`."""

import sys

from helpers.grading.cli import main

if __name__ == "__main__":
    sys.stdout.reconfigure(errors="backslashreplace")
    sys.exit(main())
