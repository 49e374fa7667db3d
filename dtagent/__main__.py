"""`python -m dtagent` is the `dtagent` command."""

import sys

from dtagent.cli import main

sys.exit(main())
