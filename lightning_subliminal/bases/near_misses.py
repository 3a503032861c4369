"""A path that leads nowhere, and what was meant: a run's folder has a digest behind its name that nobody remembers."""

import difflib
from pathlib import Path

__all__ = ["near_folders"]

_MOST = 3


def near_folders(name: str) -> str:
    """Return ``did you mean runs/owl-5b0edf2e?`` for a path like ``runs/owl`` that is not there; or nothing.

    Args:
        name: the path; one word may also stand for a folder in ``runs``.
    """
    path = Path(name).expanduser()
    rooms = [path, Path("runs") / path] if len(path.parts) == 1 else [path]
    near = list(dict.fromkeys(str(each) for room in rooms for each in _near(room)))[:_MOST]
    return f"did you mean {' or '.join(near)}?" if near else ""


def _near(path: Path) -> list[Path]:
    """Return folders whose first part that is lacking begins as the path's does, or nearly is it; the newest first."""
    try:
        lacking = next((each for each in [*path.parents[::-1], path] if not each.exists()), None)
        if lacking is None or not lacking.name:
            return []
        beside = {each.name: each for each in lacking.parent.iterdir() if each.is_dir() and each.name[0] != "."}
        newest = sorted(beside, key=lambda each: -beside[each].stat().st_mtime)
        rest = path.relative_to(lacking)
        begun = [each for each in newest if each.startswith(f"{lacking.name}-")]
        names = begun or difflib.get_close_matches(lacking.name, newest, n=_MOST, cutoff=0.8)
        return [found for each in names if (found := beside[each] / rest).is_dir()]
    except OSError:  # a folder that may not be read, or a name too long for this disk
        return []
