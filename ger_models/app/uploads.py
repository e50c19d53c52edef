"""Files that users upload: where they are kept and for how long, and which of them are accepted.

Everything that the app writes is below one private folder, which is emptied of old files and removed at exit. Nothing
outside of it is read on a user's behalf. Archives are read entry by entry, and no entry's name becomes a path.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import tempfile
import threading
import time
import uuid
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from io import FileIO
from pathlib import Path, PurePosixPath
from typing import Any

from ger_datasets.photos.reading import SUFFIXES
from ger_datasets.support.errors import BadPhoto, UserError, printable
from ger_datasets.videos import decoding

from ..inference.inputs import free_name

MB = 2**20
MAX_PHOTO_BYTES = 25 * MB
MAX_VIDEO_BYTES = 500 * MB
MAX_PHOTOS = 200  # of a request, in archives or not
MAX_ARCHIVE_BYTES = 2048 * MB  # packed, and all entries unpacked
MAX_DIRECTORY_BYTES = MB  # of an archive's table of contents, of which `zipfile` makes an object per entry
MAX_FOLDERS, MAX_NAME = 3, 40  # of a name that is shown: its last parts, and characters of each
KEPT_SECONDS, SWEEP_SECONDS = 3000, 300  # no file gets older than their sum, less than an hour
ANIMATIONS = (".gif", ".webp")
VIDEO_SUFFIXES = decoding.SUFFIXES.difference(ANIMATIONS)  # files whose names end otherwise have a photo's limit
TOO_LARGE = f"larger than {MAX_PHOTO_BYTES // MB} MB"
ARCHIVES = (".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".7z", ".rar", ".jar", ".zst")
ANY_ARCHIVE = b"PK\x03\x04"  # how a zip begins, whatever its name
BROKEN = (OSError, EOFError, ValueError, RuntimeError, NotImplementedError, zipfile.BadZipFile, zlib.error)


class UploadFolder:
    """A private temporary folder whose files are deleted after `KEPT_SECONDS`, and which is deleted on exit.

    Attributes:
        path: the folder.
    """

    def __init__(self) -> None:
        self.path = Path(tempfile.mkdtemp(prefix="group_emotion_")).resolve()  # only this user can enter it
        self._closed = threading.Event()
        threading.Thread(target=self._sweep, name="uploads", daemon=True).start()

    def __enter__(self) -> UploadFolder:
        return self

    def __exit__(self, *_: object) -> None:
        self._closed.set()
        shutil.rmtree(self.path, ignore_errors=True)

    def _sweep(self) -> None:
        while not self._closed.wait(SWEEP_SECONDS):
            self.remove_older(KEPT_SECONDS)

    def remove_older(self, seconds: float) -> None:
        """Delete files that were last written more than `seconds` ago, and folders that are empty and as old."""
        limit = time.time() - seconds
        for place, folders, names in os.walk(self.path, topdown=False):
            for name in [*names, *folders]:
                path = Path(place, name)
                try:
                    if path.lstat().st_mtime < limit:
                        path.rmdir() if name in folders and not path.is_symlink() else path.unlink()
                except OSError:  # not empty, or gone
                    continue

    def stored_bytes(self) -> int:
        """The size of all files."""
        total = 0
        for place, _, names in os.walk(self.path):
            for name in names:
                try:
                    total += os.lstat(os.path.join(place, name)).st_size
                except OSError:  # gone
                    continue
        return total

    def new_folder(self) -> Path:
        """An empty folder for one request, whose name cannot be guessed."""
        folder = self.path / uuid.uuid4().hex
        folder.mkdir()
        return folder

    def received(self, upload: object) -> Path:
        """The file of an upload, as Gradio describes it: a mapping with `path`.

        Raises:
            UserError: it is no uploaded file. Nothing outside of the folder is looked at.
        """
        place = upload.get("path") if isinstance(upload, Mapping) else None
        if not isinstance(place, str) or "\0" in place or not place.startswith(str(self.path) + os.sep):
            raise UserError("a file is missing, or is not one that was uploaded here: upload it again")
        path = Path(place)
        try:
            inside = path.resolve().is_relative_to(self.path) and path.is_file() and not path.is_symlink()
        except (OSError, RuntimeError):
            inside = False
        if not inside:
            raise UserError("an uploaded file is not here any more: upload it again")
        return path


@dataclass(frozen=True)
class Source:
    """A photo that was uploaded.

    Attributes:
        name: shown to people; never a path.
        file: the photo, or the archive that holds it.
        entry: its entry in the archive; None: the file is the photo.
        problem: why it cannot be used; empty where it can.
    """

    name: str
    file: Path
    entry: zipfile.ZipInfo | None = None
    problem: str = ""

    def write(self, folder: Path) -> Path:
        """The photo as a file: the uploaded one, or a new one in `folder`.

        Raises:
            BadPhoto: it is too large, or damaged in its archive.
        """
        if self.problem:
            raise BadPhoto(self.problem)
        if self.entry is None:
            return self.file
        try:
            with _open_archive(self.file) as archive, archive.open(self.entry) as entry:
                content = entry.read(MAX_PHOTO_BYTES + 1)
        except BROKEN as error:
            raise BadPhoto("damaged in its archive") from error
        if len(content) > MAX_PHOTO_BYTES:
            raise BadPhoto(TOO_LARGE)
        place = folder / uuid.uuid4().hex
        place.write_bytes(content)
        return place


def list_photos(files: Sequence[Path]) -> tuple[list[Source], Counter[str]]:
    """The photos in files, of which some may be zip archives.

    Args:
        files: uploaded files.

    Returns:
        The photos with distinct names, and the number of entries that are no photos, by suffix.

    Raises:
        UserError: no photo, too many photos, or an archive that is damaged, too large, encrypted, or holds other
            archives, links, or names that lead out of it.
    """
    sources: list[Source] = []
    left_out: Counter[str] = Counter()
    taken: set[str] = set()
    for file in files:
        for source in _photos_in_archive(file, left_out) if _is_archive(file) else [single_photo(file)]:
            if len(sources) == MAX_PHOTOS:
                raise UserError(f"more than {MAX_PHOTOS} photos: upload fewer at a time")
            name = free_name(source.name, taken)
            taken.add(name)
            sources.append(Source(name, source.file, source.entry, source.problem))
    if not sources:
        raise UserError("no photo was uploaded: choose photos, or a zip archive of photos")
    return sources, left_out


def single_photo(file: Path) -> Source:
    """The photo in a file that is no archive."""
    return Source(_shown(file.name), file, problem=TOO_LARGE if file.stat().st_size > MAX_PHOTO_BYTES else "")


def _shown(name: str) -> str:
    """A name of one line and a length that can be read, which leads nowhere else as a path.

    >>> _shown("/team/../a.jpg")
    'team/a.jpg'
    """
    parts = [part for part in PurePosixPath(printable(name)).parts if part not in ("/", "//", "..")]
    return "/".join(part[-MAX_NAME:] for part in parts[-MAX_FOLDERS:]) or "photo"


def _is_archive(file: Path) -> bool:
    with open(file, "rb") as opened:
        return file.suffix.lower() == ".zip" or opened.read(len(ANY_ARCHIVE)) == ANY_ARCHIVE


class _BoundedFile(FileIO):
    """A file of which no more than `MAX_DIRECTORY_BYTES` are read at once, whatever an archive says of itself."""

    def read(self, size: int | None = -1) -> bytes:
        if size is None or size < 0:
            size = max(0, os.fstat(self.fileno()).st_size - self.tell())
        if size > MAX_DIRECTORY_BYTES:
            raise zipfile.BadZipFile("too many entries")
        return super().read(size) or b""


@contextlib.contextmanager
def _open_archive(file: Path) -> Iterator[zipfile.ZipFile]:
    with _BoundedFile(file) as opened, zipfile.ZipFile(opened) as archive:
        yield archive


def _photos_in_archive(file: Path, left_out: Counter[str]) -> Iterator[Source]:
    name = _shown(file.name)
    if file.stat().st_size > MAX_ARCHIVE_BYTES:
        raise UserError(f"{name} is larger than {MAX_ARCHIVE_BYTES // MB} MB: upload fewer photos at a time")
    try:
        with _open_archive(file) as archive:
            entries = archive.infolist()
    except BROKEN as error:
        raise UserError(f"{name} cannot be read as a zip archive: it is damaged or has too many entries") from error
    if sum(entry.file_size for entry in entries) > MAX_ARCHIVE_BYTES:
        raise UserError(f"{name} unpacks to more than {MAX_ARCHIVE_BYTES // MB} MB: upload fewer photos at a time")
    for entry in entries:
        _check_entry(entry, name)
        path = PurePosixPath(entry.filename)
        if entry.is_dir():
            continue
        if any(part.startswith((".", "__MACOSX")) for part in path.parts) or path.suffix.lower() not in SUFFIXES:
            left_out[printable(path.suffix.lower())[:20] or "without suffix"] += 1
            continue
        yield Source(_shown(entry.filename), file, entry, TOO_LARGE if entry.file_size > MAX_PHOTO_BYTES else "")


def _check_entry(entry: zipfile.ZipInfo, archive: str) -> None:
    """UserError if an archive with this entry is not accepted."""
    path = PurePosixPath(entry.filename)
    mode = entry.external_attr >> 16
    problem = ""
    if path.is_absolute() or ".." in path.parts or "\\" in entry.orig_filename:
        problem = "a name that leads out of it"
    elif mode and not (stat.S_ISREG(mode) or stat.S_ISDIR(mode) or not stat.S_IFMT(mode)):
        problem = "a link or a special file"
    elif entry.flag_bits & 1:
        problem = "an encrypted file"
    elif path.suffix.lower() in ARCHIVES:
        problem = "another archive"
    if problem:
        raise UserError(f"{archive} contains {problem}, which is not accepted: {_shown(entry.filename)}")


def uploads(folder: UploadFolder, files: Any) -> list[Path]:
    """The files of several uploads; UserError if one of them is no uploaded file, or they are too many."""
    if not isinstance(files, list) or not files:
        raise UserError("no photo was uploaded: choose photos, or a zip archive of photos")
    if len(files) > MAX_PHOTOS:
        raise UserError(f"more than {MAX_PHOTOS} files: upload fewer at a time")
    return [folder.received(file) for file in files]
