"""The evaluation that lies where another one is to be written: kept beside it under a digest of what it measured."""

import os
import shutil
from pathlib import Path

from lightning_subliminal.core.console import say
from lightning_subliminal.core.errors import InputError
from lightning_subliminal.lineage.names import ENVELOPE, RECORD, RESULTS
from lightning_subliminal.lineage.record import known_statement

__all__ = ["FILES", "check_place", "keep_earlier"]

FILES = ("answers.jsonl", "results.json")
_ALL = (*FILES, RECORD, ENVELOPE, RESULTS)


def check_place(folder: Path) -> None:
    """Refuse a folder with the results of something else, such as a run's: an evaluation would overwrite them.

    Raises:
        InputError: saying what lies there.
    """
    record = known_statement(folder / RECORD)
    if record is not None and record.kind != "evaluation":
        raise InputError(f"--out {folder} holds a {record.kind}, which results would overwrite: choose another folder.")


def keep_earlier(folder: Path, invocation: str) -> None:
    """Move another evaluation's files out of a folder, into ``FOLDER-DIGEST``; the same one is written over.

    Args:
        folder: where an evaluation is to be written.
        invocation: digest of what it measured, and with what.

    Raises:
        InputError: if the folder holds something else, or the files can't be moved.
    """
    check_place(folder)
    record = known_statement(folder / RECORD)
    if record is None or record.invocation in (None, invocation):
        return
    whole = folder.absolute()
    kept = whole.with_name(f"{whole.name}-{str(record.invocation)[:8]}")
    try:
        kept.mkdir(exist_ok=True)
        check_place(kept)
        for name in _ALL:
            if (folder / name).exists():
                if (kept / name).is_dir():
                    shutil.rmtree(kept / name)
                os.replace(folder / name, kept / name)
    except OSError as err:
        raise InputError(
            f"The earlier evaluation in {folder} can't be moved to {kept} ({err}): choose another."
        ) from err
    shown = folder.with_name(kept.name) if folder.name else kept
    say(f"kept      {folder} held another evaluation, which is now in {shown}")
