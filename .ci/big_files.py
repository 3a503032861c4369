"""Fail when a file is over 100 kB: python .ci/big_files.py FILE ...

Called by pre-commit with the files of a commit. Weights are left out there; all else that big is a mistake.
"""

import sys
from pathlib import Path

LIMIT = 100_000

big = [path for path in map(Path, sys.argv[1:]) if path.is_file() and path.stat().st_size > LIMIT]
for path in big:
    print(f"{path}: {path.stat().st_size:,} bytes, over {LIMIT:,}")
sys.exit(bool(big))
