"""Earlier results in the output folder: moved to a folder named by the digest of what they measured."""

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
    """Check that a folder has no results but those of an evaluation, such as a run's, which would be overwritten.

    Raises:
        InputError: naming what it has.
    """
    record = known_statement(folder / RECORD)
    if record is not None and record.kind != "evaluation":
        raise InputError(f"--out {folder} holds a {record.kind}, which results would overwrite: choose another folder.")


def keep_earlier(folder: Path, invocation: str) -> None:
    """Move another evaluation's files out of a folder, into ``FOLDER-DIGEST``; the same evaluation is overwritten.

    Args:
        folder: output folder of the new evaluation.
        invocation: digest of its settings.

    Raises:
        InputError: if the folder has other results, or the files can't be moved.
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
            f"The earlier evaluation in {folder} can't be moved to {kept} ({err}): choose another folder."
        ) from err
    shown = folder.with_name(kept.name) if folder.name else kept
    say(f"kept      the earlier evaluation in {folder} is now in {shown}")
