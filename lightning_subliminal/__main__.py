"""``python -m lightning_subliminal`` is ``lightning-subliminal``."""

import os
import sys

_HERE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

# `python -m` puts the working folder first, where a file may have the name of a module that a library looks for; a
# user's own class is found there all the same (`class_paths.py`). Where this package itself lies there, it must stay.
if __name__ == "__main__":
    if (
        not getattr(sys.flags, "safe_path", False)
        and sys.path[:1] == [os.getcwd()]
        and not os.path.samefile(".", _HERE)
    ):
        del sys.path[0]
    from lightning_subliminal.cli.entry import main

    main()
