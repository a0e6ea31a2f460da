"""`python -m pellucid` is the `pellucid` command, also where scripts are not on the path."""

import sys

from pellucid.surfaces.cli import main

if __name__ == "__main__":
    sys.exit(main())
