"""`python -m tests.simulation`; apart from the search, whose processes must be able to import it by name."""

import sys

from tests.simulation.search import main

if __name__ == "__main__":
    sys.exit(main())
