"""``python -m qianda`` is the ``qianda`` program."""

import sys

from qianda.cli.main import main

sys.exit(main())
