"""Predictions in the format of the EmotiW 2018 challenge: for each photo a file NAME.txt that holds its class."""

from __future__ import annotations

import os
import shutil
import uuid
from collections import Counter
from pathlib import Path

from ger_datasets.support.errors import UserError, escaped, listing, one_line

from .joining import photo_name
from .predictions import Predictions, is_position


def write_submission(folder: str | Path, predictions: Predictions) -> None:
    """Write the files into `folder`, all of them or none; the labels are not looked at.

    Args:
        folder: new, or empty.
        predictions: one model's on the photos that are to be submitted; a file is called after the image_id's stem.

    Raises:
        UserError: two photos would have one name, photos have no name or one that no file can have, the folder holds
            something, or it cannot be written.
    """
    folder = Path(folder)
    nameless = sum(map(is_position, predictions.image_ids))
    if nameless:
        raise UserError(
            f"{nameless} of {len(predictions)} rows have no file name, and a submission is made of files called after "
            "the photos; add filename arrays to the archive"
        )
    names = [photo_name(image_id) for image_id in predictions.image_ids]
    odd = [name for name in names if name in ("", ".", "..") or escaped(name) != name]
    if odd:
        raise UserError(
            f"{len(odd)} of {len(names)} photos have a name that no file should have ({listing(odd, 3)}): an image_id "
            "must end in a name without control characters; rename them in the predictions table"
        )
    doubled = [name for name, count in Counter(names).items() if count > 1]
    if doubled:
        raise UserError(
            f"{len(doubled)} names occur more than once ({listing(doubled, 3)}), and a submission has one file for "
            "each; choose the split with --split"
        )
    taken = folder.exists() and (not folder.is_dir() or any(folder.iterdir()))
    if taken:
        raise UserError(f"{folder} is not empty: nothing was overwritten; name a new folder for the submission")
    temporary = folder.with_name(f".{uuid.uuid4().hex}.tmp")
    try:
        temporary.mkdir(parents=True)
        for name, best in zip(names, predictions.logits.argmax(axis=1), strict=True):
            (temporary / f"{name}.txt").write_text(f"{predictions.class_names[best]}\n", encoding="utf-8")
        os.replace(temporary, folder)
    except OSError as error:
        raise UserError(f"cannot write {folder}: {one_line(error)}; choose another place or free it") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
