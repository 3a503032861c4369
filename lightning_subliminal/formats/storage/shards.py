"""Which files of a folder are the rows of one set: all shards of one split, in one container.

A folder of the hub's kind has ``train-00000-of-00002.parquet`` and ``test-00000-of-00001.parquet`` side by side. Read
as they lie, the test rows would be trained on, and nobody would miss a shard that was not fetched. A file under several
names, by links, is read once.
"""

import re
from collections import defaultdict
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from lightning_subliminal.core.errors import InputError

__all__ = ["choose_split", "row_files"]

_KINDS = {".parquet": "parquet", ".jsonl": "jsonl", ".ndjson": "jsonl", ".jsonl.gz": "gz", ".ndjson.gz": "gz"}
_SHARD = re.compile(r"(?:(.*)[-_.])?(\d{5})-of-(\d{5})(?:-[0-9a-f]{8,})?(?:\.[a-z]+)+")
_WORDS = {  # as `datasets` reads names of files
    "train": ("train", "training"),
    "validation": ("validation", "valid", "val", "dev"),
    "test": ("test", "testing", "eval", "evaluation"),
}
_SPLITS = {word: split for split, words in _WORDS.items() for word in words}
_WORD = re.compile(rf"(?:^|[-_. ])({'|'.join(_SPLITS)})(?=[-_. \d])")


def row_files(path: Path, split: str | None = None) -> list[Path]:
    """Return the files of a folder that hold its rows, in their order; none where there are none.

    Args:
        path: the folder.
        split: which part; ``train``, or the only one, where it is None.

    Raises:
        InputError: if they are of several containers, of several splits of which none is named, or shards are missing.
    """
    name, found = str(path), defaultdict[str, list[Path]](list)
    for each in sorted(path.glob("*")):
        if (kind := _kind_of(each)) and not _is_left_over(each):
            found[kind].append(each)
    if len(found) > 1:
        listed = " and ".join(files[0].name for files in found.values())
        raise InputError(f"{name} holds rows in several containers ({listed}): name a file, or keep one kind.")
    files = next(iter(found.values()), [])
    known = {_identity(each) for each in files}
    below = (each for each in sorted(path.glob("*/*")) if _kind_of(each) and each.parent.name[0] != ".")
    below = (each for each in below if _identity(each) not in known)
    if files and (other := next(below, None)) is not None:
        raise InputError(
            f"{name} holds rows in a folder below it, too ({other.relative_to(path)}): name that, or a file."
        )
    parts = defaultdict[str, list[Path]](list)
    for each in files:
        parts[_split_of(each.name)].append(each)
    named = [each for each in parts if each]
    of_splits = {_identity(each) for name in named for each in parts[name]}
    if not (unnamed := [each for each in parts[""] if _identity(each) not in of_splits]):
        del parts[""]
    if len(named) < 2 and split is None:
        chosen = files
    elif not named:
        raise InputError(f"{name} has no splits: omit --split.")
    elif "" in parts:
        others = ", ".join(each.name for each in unnamed[:3])
        raise InputError(f"{name} holds the splits {' and '.join(named)}, and files of none ({others}): name a file.")
    else:
        chosen = parts[choose_split(named, name, split)]
    _check_shards(chosen, name)
    once = _each_once(chosen)
    read = set(map(_identity, once))
    if lost := [each.name for each in files if each not in once and _identity(each) in read]:
        some = ", ".join(lost[:3]) + (f" and {len(lost) - 3} more" if lost[3:] else "")
        _say_once(f"note      {name}: {some} left out, another name of what is read")
    return once


def choose_split(splits: Sequence[str], name: str, split: str | None) -> str:
    """Return the split that is asked for, or ``train``, or the only one.

    Raises:
        InputError: if there is no such split, or no choice.
    """
    chosen = split or ("train" if "train" in splits else splits[0] if len(splits) == 1 else None)
    if chosen is None or chosen not in splits:
        problem = f"has no split `{split}`" if split else "has more than one split"
        raise InputError(f"{name} {problem}: choose --split {' or '.join(splits)}, an option of `data convert`.")
    return chosen


def _kind_of(path: Path) -> str:
    """Return the container of a file of rows; empty for any other."""
    kind = next((kind for end, kind in _KINDS.items() if path.name.lower().endswith(end)), "")
    return kind if path.name[0] != "." and not path.is_dir() else ""


def _identity(path: Path) -> tuple[object, ...]:
    """Return what is the same for all names of a file: its device and inode."""
    try:
        found = path.stat()
    except OSError:  # a link to nothing, which is reported where it is read
        return (path,)
    return found.st_dev, found.st_ino


def _each_once(files: Sequence[Path]) -> list[Path]:
    """Return the files in their order, of several names of one file that which is not a symbolic link, or the first."""
    kept: dict[tuple[object, ...], Path] = {}
    for each in sorted(files, key=Path.is_symlink):
        kept.setdefault(_identity(each), each)
    return [each for each in files if each in kept.values()]


@cache
def _say_once(line: str) -> None:
    from lightning_subliminal.core.console import aside, say  # it imports lightning, which takes seconds

    with aside():  # standard output may be the rows, or JSON
        say(line)


def _is_left_over(path: Path) -> bool:
    """Return whether a file holds the rows that a conversion left out of the one beside it."""
    whole = path.name.removesuffix(".bad.jsonl")  # as `convert` names it
    return whole != path.name and path.with_name(whole).exists()


def _split_of(name: str) -> str:
    """Return the split that a file's name says; empty if it says none."""
    if (word := _WORD.search(name.lower())) is not None:
        return _SPLITS[word[1]]
    shard = _SHARD.fullmatch(name)
    return (shard[1] or "") if shard is not None else ""


def _check_shards(files: Sequence[Path], name: str) -> None:
    """Check that numbered shards are all there, and those of one writing alone."""
    sets = defaultdict[tuple[str, int], set[int]](set)
    for each in files:
        if (shard := _SHARD.fullmatch(each.name)) is not None:
            sets[shard[1] or "", int(shard[3])].add(int(shard[2]))
    for (begun, count), numbers in sets.items():
        if any(other == begun and size != count for other, size in sets):
            raise InputError(f"{name} holds {begun or 'shards'} written twice, once in {count}: keep one.")
        if lost := sorted(set(range(count)) - numbers):
            first = f"{begun}{'-' if begun else ''}{lost[0]:05d}-of-{count:05d}"
            many = f"{len(lost)} of {count} shards, the first" if len(lost) > 1 else f"a shard of {count},"
            raise InputError(f"{name} lacks {many} {first}: fetch it, or name a file.")
