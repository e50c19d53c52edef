"""Where EMOTIC's annotation files and photos lie in a download, whatever the case of their names."""

from __future__ import annotations

from pathlib import Path

from ..support.errors import UserError, listing
from .annotations import ARRAY_SPLITS, SPLITS

PHOTO_FOLDER = "emotic"
ARRAY_FOLDER = "img_arrs"
WRAPPERS = (PHOTO_FOLDER, "archive")  # folders around photos and annotations
ANNOTATION_FOLDERS = ("annotations", "emotic_pre", "annots_arrs")

# The forms of annotations, best first: name of the split or of the form -> file name.
FORMS = {
    "mat": {"mat": "annotations.mat"},
    "csv": {name: f"{name}.csv" for name in SPLITS},
    "arrays": {name: f"annot_arrs_{name}.csv" for name in ARRAY_SPLITS},
    "npz": {name: f"{name}_annotations.npz" for name in SPLITS},
}


def find_annotations(source: Path) -> tuple[str, dict[str, Path]]:
    """The best form of annotations in the download, a key of `FORMS`, and its files by split (of mat, by `mat`).

    Raises:
        UserError: no such folder, or no annotations.
    """
    homes = [source, *_folders([source], WRAPPERS)]
    folders = [*homes, *_folders(homes, ANNOTATION_FOLDERS)]
    if source.absolute().name.lower() == PHOTO_FOLDER:
        folders += _folders([source.absolute().parent], ANNOTATION_FOLDERS)
    listed = [_entries(folder) for folder in folders]
    for form, file_names in FORMS.items():
        for there in listed:
            files = {key: there[name] for key, name in file_names.items() if name in there}
            files = {key: path for key, path in files.items() if path.is_file()}
            if files:
                return form, files
    raise UserError(
        f"no annotations in {source}: expected Annotations/Annotations.mat, train.csv, "
        "annots_arrs/annot_arrs_train.csv or train_annotations.npz, "
        f"found {listing(sorted(path.name for path in listed[0].values()))}"
    )


def _folders(homes: list[Path], names: tuple[str, ...]) -> list[Path]:
    """Those of the folders `names` that lie in `homes`."""
    return [there[name] for there in map(_entries, homes) for name in names if name in there and there[name].is_dir()]


def _entries(folder: Path) -> dict[str, Path]:
    """What lies in `folder`, by its name in lower case."""
    try:
        return {path.name.lower(): path for path in sorted(folder.iterdir())}
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise UserError(f"{folder} cannot be listed ({reason}): give the folder that holds emotic") from error


def photo_root(source: Path, folder: str = PHOTO_FOLDER) -> Path:
    """The folder named `folder` in the download, or the download itself where it has none."""
    homes = [source, *_folders([source], WRAPPERS)]
    return next(iter(_folders(homes, (folder,))), source)
