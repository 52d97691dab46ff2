"""``python -m byoc``: the same as the command ``byoc``."""

import sys

from byoc.cli import main

sys.exit(main())
