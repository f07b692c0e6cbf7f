"""``python -m scalesearch``, and what torchrun begins: ``torchrun --nproc-per-node 2 -m scalesearch train ...``."""

from __future__ import annotations

import sys

from scalesearch.cli import main

if __name__ == "__main__":
    sys.exit(main())
