"""``python -m dreamspi`` is ``dreamspi``."""

import sys

from dreamspi.cli import main

if __name__ == "__main__":
    sys.exit(main())
