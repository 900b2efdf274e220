"""`python -m rille` is `rille`."""

import sys

from rille.cli import main

sys.exit(main())
