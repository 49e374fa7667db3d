#!/usr/bin/python3 -I
"""The dtagent command, isolated from the environment and the user's own Python folders."""

import sys

sys.path.insert(0, "/usr/lib/dtagent")

from dtagent.cli import main

sys.exit(main())
