"""The original system's intermediate folders -> columns, in place of computing them.

Per photo `NAME` of a raw folder the original's scripts wrote, below a tree of split and class folders:

| folder | file | read |
|---|---|---|
| FaceCoordinates | NAME.npz | `a` (faces, 5): x1 y1 x2 y2 score; `b` (faces, 10): five x, then five y |
| FaceFeatures | NAME.npz | `a` (faces, 256) |
| CroppedFaces | NAME.npz | `a`: faces of unequal size, each (height, width, 3), RGB |
| AlignedCroppedImages | NAME_i.jpg | i from 0 or from 1, in the order of the rows of FaceCoordinates |
| GlobalFeatures | NAME.npz | `a` (2208,) -> scene_feature |
| FaceFeatures_Crop_sampling | NAME_i.jpg | the four patches of a photo without faces, i from 0 or from 1 |

Also accepted: `arr_0` and `arr_1` for `a` and `b`; any integer or floating-point type; leading axes of length 1, and
none where there is one row; any empty array for no face; landmarks as x1 y1 ... x5 y5 (whichever of the two layouts
looks like faces is taken, the original's where both do); in CroppedFaces one array where all faces are of one size.

Files are found by the photo's path below the raw folder, without regard to case, `validation` being `val` and
`Positive/Positive` being `Positive`; failing that by its name alone, where one photo and one file have it.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ..faces import Faces
from ..faces.alignment import SPHEREFACE_TEMPLATE, similarity_transform
from ..faces.columns import photo_columns
from ..photos.patches import PATCH_HEIGHT, PATCH_WIDTH
from ..photos.reading import STORED_PIXELS, SUFFIXES, TURNS, open_photo, orientation, read_photo
from ..records import Record
from ..schema import ALIGNED_FACE_HEIGHT, ALIGNED_FACE_WIDTH, FACE_COLUMNS, FACE_FEATURE_DIM
from ..support.errors import BadPhoto, UserError, listing, printable
from .index import File, Index, path_key
from .npz import read_npz

logger = logging.getLogger(__name__)

COORDINATES, FEATURES, CROPS = "FaceCoordinates", "FaceFeatures", "CroppedFaces"
ALIGNED, SCENES, PATCHES = "AlignedCroppedImages", "GlobalFeatures", "FaceFeatures_Crop_sampling"
FOLDERS = (COORDINATES, FEATURES, CROPS, ALIGNED, SCENES, PATCHES)
NUMBERED = (ALIGNED, PATCHES)  # images NAME_i.jpg
WITHOUT_FACE_FILES = {SCENES, PATCHES}  # read even where the faces are computed
PATCH_COUNT = 4

SCENE_FEATURE_DIM = 2208  # DenseNet-161
MAX_FACES = 1000  # the fullest photos of GAF 3.0 have about a hundred
MAX_BYTES = 16 * 2**20  # of coordinates or features: a thousand faces take 4 MiB as float32
MAX_CROP_BYTES = 256 * 2**20


class LegacySource:
    """A photo source that reads the original's intermediate folders.

    The face columns of a photo come from the files altogether or not at all, since rows of two detectors do not
    belong together. They are computed instead, without a message, where the photo's coordinates, landmarks or
    features are not there, and where `read_photo` turned the photo by its EXIF orientation or reduced it: the
    files' pixels would be others than the photo's. Crops that are missing or empty (the original cut nothing where a
    box began left of or above the photo) are cut from the photo. `scene_feature` does not depend on them.

    Patches are read where the photo has no face in the files, or where its faces are computed; of the latter, photos
    with a face keep no patches. They are sampled from the photo where a file is not 112 wide x 96 high.

    Boxes are clipped to the photo, and faces that lie outside it are left out; all columns are sorted by score.
    Aligned faces are computed from photo and landmarks unless the files are 96 wide x 112 high: the original's
    are 112 x 96, and to squash them would distort every face.

    The original picked its feature rows with indices of another array: more than half of the rows of FaceFeatures
    belong to another face of the photo than FaceCoordinates has in that row. They are passed on unchanged;
    `remarks` says so.

    Args:
        folder: the folder that holds FaceCoordinates, FaceFeatures, ...; any of them may be missing. Without
            FaceCoordinates or FaceFeatures all face columns are computed.
        source_root: the raw folder that the photos lie in.

    Raises:
        UserError: none of the folders is there.
    """

    name = "legacy"

    def __init__(self, folder: Path, source_root: Path) -> None:
        self.folder, self.source_root = folder, source_root
        if not folder.is_dir():
            raise UserError(f"no folder {folder}: give the one that holds {', '.join(FOLDERS)}")
        entries = {path.name.lower(): path for path in sorted(folder.iterdir()) if path.is_dir()}
        there = {name: entries[name.lower()] for name in FOLDERS if name.lower() in entries}
        if not there:
            raise UserError(
                f"no intermediates in {folder}: expected {', '.join(FOLDERS)} or some of them, "
                f"found {listing(path.name for path in entries.values())}"
            )
        lacking = [name for name in (COORDINATES, FEATURES) if name not in there]
        if lacking and there.keys() - WITHOUT_FACE_FILES:
            logger.warning(
                "%s has no %s: all face columns are computed from the photos, and what there is of faces is not read",
                folder,
                " and no ".join(lacking),
            )
        self._folders = {name: path for name, path in there.items() if name in WITHOUT_FACE_FILES or not lacking}

    @property
    def settings(self) -> dict[str, list[str]]:
        """The folders that columns are taken from."""
        return {"legacy": list(self._folders)}

    def remarks(self) -> list[str]:
        """What a reader of the dataset card should know about these intermediates."""
        if FEATURES not in self._folders:
            return []
        return [
            "Faces come from the original system's intermediate files. Its `face_features` were picked with indices "
            "of another array, so that more than half of them belong to another face of the same photo than the box "
            "in their row."
        ]

    def columns(self, record: Record, image: Image.Image) -> dict[str, Any]:
        """The columns of one photo that the files hold: all that follow from its faces or none, scene_feature, and
        sampled_patches.

        Raises:
            BadPhoto: a file is damaged or holds something else, its coordinates lie far outside the photo, the files
                of this photo disagree on how many faces there are, or there are not four patches.
        """
        columns: dict[str, Any] = {}
        scene = self._read(SCENES, record)
        if scene is not None:
            columns["scene_feature"] = _scene_feature(scene[0], self._label(SCENES, record)).tolist()
        if self._folders.keys() & {COORDINATES, PATCHES} and _has_pixels_of(record.path, image):
            if COORDINATES in self._folders:
                columns |= self._face_columns(record, image)
            if not columns.get("face_boxes"):
                patches = self._numbered_images(PATCHES, record, PATCH_COUNT, (PATCH_WIDTH, PATCH_HEIGHT))
                columns |= {"sampled_patches": patches} if patches else {}
        return columns

    def _face_columns(self, record: Record, image: Image.Image) -> dict[str, Any]:
        coordinates, described = self._read(COORDINATES, record), self._read(FEATURES, record)
        if coordinates is None:
            return {}
        label = self._label(COORDINATES, record)
        boxes = _rows(coordinates[0], 5, label)
        count = len(boxes)
        if count and (described is None or coordinates[1] is None):
            return {}
        landmarks = np.zeros((0, 10)) if coordinates[1] is None else _rows(coordinates[1], 10, label)
        _agree(count, len(landmarks), "landmarks", label, label)
        if described is not None:
            features = _rows(described[0], FACE_FEATURE_DIM, self._label(FEATURES, record))
            _agree(count, len(features), "features", label, self._label(FEATURES, record))
        else:
            features = np.zeros((0, FACE_FEATURE_DIM))
        crops = self._crops(record, count)
        aligned = self._aligned(record, count)

        faces = _faces(boxes, landmarks, features, image, label)
        rows = np.argsort(-faces.scores, kind="stable")
        rows = rows[(faces.boxes[rows, 2:] > faces.boxes[rows, :2]).all(1)]  # the others lie outside the photo
        columns = photo_columns(image, faces.select(rows))
        columns = {name: columns[name] for name in FACE_COLUMNS}
        if crops:
            given = [crops[row] for row in rows]
            columns["face_crops"] = [g or cut for g, cut in zip(given, columns["face_crops"], strict=True)]
        if aligned:
            columns["aligned_faces"] = [aligned[row] for row in rows]
        return columns

    def _crops(self, record: Record, count: int) -> list[Image.Image | None]:
        """The photo's faces in CroppedFaces, None where one is empty; an empty list where there is no file."""
        arrays = self._read(CROPS, record, MAX_CROP_BYTES, pickled=True)
        if arrays is None:
            return []
        label = self._label(CROPS, record)
        crops = _crop_arrays(arrays[0], label)
        _agree(count, len(crops), "cropped faces", self._label(COORDINATES, record), label)
        return [_crop_image(crop, label) for crop in crops]

    def _aligned(self, record: Record, count: int) -> list[Image.Image]:
        """The photo's faces in AlignedCroppedImages; an empty list where there is none, or of another size."""
        files = self._files(ALIGNED, record)
        if not files:
            return []
        label = self._label(ALIGNED, record)
        _agree(count, len(files), "aligned faces", self._label(COORDINATES, record), label)
        return self._numbered_images(ALIGNED, record, count, (ALIGNED_FACE_WIDTH, ALIGNED_FACE_HEIGHT))

    def _numbered_images(self, name: str, record: Record, count: int, size: tuple[int, int]) -> list[Image.Image]:
        """The photo's `count` images in the folder `name`, in order; an empty list where there is none, or of another
        size (width, height)."""
        files = sorted(self._files(name, record), key=lambda file: file.number)
        numbers = [file.number for file in files]
        if files and numbers not in (list(range(count)), list(range(1, count + 1))):
            raise BadPhoto(
                f"legacy: {self._label(name, record)}: images numbered {listing(numbers)}; "
                f"expected {count}, numbered from 0 or from 1"
            )
        images = []
        for file in files:
            try:
                image = read_photo(Path(file.path)).image
            except BadPhoto as reason:
                raise BadPhoto(f"legacy: {self._relative(file)}: {reason}") from reason
            if image.size != size:
                return []
            images.append(image)
        return images

    def _read(
        self, name: str, record: Record, max_bytes: int = MAX_BYTES, pickled: bool = False
    ) -> tuple[np.ndarray, np.ndarray | None] | None:
        """The arrays `a` and `b` of the photo's file in the folder `name`; None where there is no such file."""
        files = self._files(name, record)
        if len(files) != 1:  # more: their names differ in case alone, and none is the photo's for certain
            return None
        try:
            return read_npz(Path(files[0].path), max_bytes, pickled)
        except BadPhoto as reason:
            raise BadPhoto(f"legacy: {self._label(name, record)}: {reason}") from reason

    def _label(self, name: str, record: Record) -> str:
        """The photo's file in the folder `name`, the first of several, as a message calls it."""
        return self._relative(self._files(name, record)[0])

    def _relative(self, file: File) -> str:
        return printable(os.path.relpath(file.path, self.folder))

    def _files(self, name: str, record: Record) -> Sequence[File]:
        """The photo's files in the folder `name`."""
        if name not in self._folders:
            return ()
        photos, files = self._photos, self._indexes[name]
        own = record.path.stem.lower()
        try:
            key = path_key(record.path.relative_to(self.source_root).with_suffix("").parts)
        except ValueError:  # a photo from elsewhere
            key = ""
        if key in files.by_key:
            # of a.jpg and a.png the original would have written one a.npz: whose it is nobody knows
            return files.by_key[key] if len(photos.by_key.get(key, ())) <= 1 else ()
        keys = files.keys_by_name.get(own, ())
        if len(keys) != 1 or photos.count(own) > 1:
            return ()
        return files.by_key[next(iter(keys))]

    @cached_property
    def _photos(self) -> Index:
        pruned = {os.path.realpath(path) for path in self._folders.values()}  # they may lie in the raw folder
        return Index(self.source_root, SUFFIXES, pruned=pruned)

    @cached_property
    def _indexes(self) -> dict[str, Index]:
        return {
            name: Index(path, SUFFIXES if name in NUMBERED else {".npz"}, numbered=name in NUMBERED)
            for name, path in self._folders.items()
        }

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name not in ("_photos", "_indexes")}


def _has_pixels_of(path: Path, image: Image.Image) -> bool:
    """Whether the photo in the file `path` has the pixels of `image`: neither turned nor reduced when it was read."""
    with open_photo(path) as raw:
        return raw.size == image.size and orientation(raw) not in TURNS


def _rows(array: np.ndarray, width: int, name: str) -> np.ndarray:
    """`array` as (rows, width) float64 of finite numbers."""
    if array.size == 0:
        return np.zeros((0, width))
    shape = array.shape
    while array.ndim > 2 and len(array) == 1:
        array = array[0]
    if array.ndim == 1:
        array = array[None]
    if array.ndim != 2 or array.shape[1] != width:
        raise BadPhoto(f"legacy: {name}: an array of shape {shape} where (faces, {width}) is expected")
    if len(array) > MAX_FACES:
        raise BadPhoto(f"legacy: {name}: {len(array)} faces; at most {MAX_FACES} are read")
    return _finite(array, name)


def _finite(array: np.ndarray, name: str) -> np.ndarray:
    array = array.astype(np.float64)
    if not (np.abs(array) <= np.finfo(np.float32).max).all():
        raise BadPhoto(f"legacy: {name}: numbers must be finite")
    return array


def _agree(faces: int, others: int, what: str, first: str, second: str) -> None:
    if faces != others:
        where = "" if first == second else f" in {second}"
        raise BadPhoto(f"legacy: {first}: {faces} face coordinates but {others} {what}{where}")


def _faces(
    coordinates: np.ndarray, landmarks: np.ndarray, features: np.ndarray, image: Image.Image, name: str
) -> Faces:
    """The faces in the rows' own order, boxes clipped to the photo, some of them perhaps to nothing.

    Args:
        coordinates: (faces, 5), x1 y1 x2 y2 score.
        landmarks: (faces, 10), in either layout.
        features: (faces, 256).
        image: the photo.
        name: what the file of the coordinates is called.
    """
    size = np.array(image.size)
    boxes, scores, points = coordinates[:, :4], coordinates[:, 4], _points(landmarks)
    for corners in (boxes.reshape(-1, 2, 2), points):
        if not ((corners >= -size) & (corners <= 2 * size)).all():  # MTCNN's may lie a little outside
            raise BadPhoto(f"legacy: {name}: the face coordinates do not fit this photo of {size[0]} x {size[1]}")
    if not ((scores >= 0) & (scores < 1.001)).all():  # a softmax in float32 can pass 1 by a rounding
        raise BadPhoto(f"legacy: {name}: face scores must be probabilities")
    boxes = np.clip(boxes, 0, np.tile(size, 2))
    arrays = (boxes, np.minimum(scores, 1), points, features)
    return Faces(*(array.astype(np.float32) for array in arrays))


def _points(landmarks: np.ndarray) -> np.ndarray:
    """(faces, 10) landmarks as (faces, 5, 2) x y.

    The original's are five x, then five y. They are read as x1 y1 ... x5 y5 only where that comes at least twice as
    near to the layout of a face.
    """
    original = landmarks.reshape(-1, 2, 5).transpose(0, 2, 1)
    interleaved = landmarks.reshape(-1, 5, 2)
    if not len(landmarks):
        return original
    return interleaved if _unlikeness(interleaved) < _unlikeness(original) / 2 else original


def _unlikeness(points: np.ndarray) -> float:
    """Mean distance in pixels of (faces, 5, 2) points, turned, scaled and shifted at best, from SphereFace's template.

    Points that coincide have no likeness to compare, and count as at their places.
    """
    matrices = similarity_transform(points)
    with np.errstate(invalid="ignore", over="ignore"):
        aligned = points @ matrices[:, :, :2].transpose(0, 2, 1) + matrices[:, None, :, 2]
        distances = np.linalg.norm(aligned - SPHEREFACE_TEMPLATE, axis=2).mean(1)
    return float(np.where(np.isfinite(distances), distances, 0).mean())


def _crop_arrays(array: np.ndarray, name: str) -> list[np.ndarray]:
    """The faces in an array of objects, or in one array (faces, height, width, 3)."""
    if array.dtype.kind == "O":
        crops = list(array.ravel())
    else:
        while array.ndim > 4 and len(array) == 1:
            array = array[0]
        crops = [array] if array.ndim == 3 and array.shape[2] == 3 else list(np.atleast_1d(array))
    if len(crops) > MAX_FACES:
        raise BadPhoto(f"legacy: {name}: {len(crops)} faces; at most {MAX_FACES} are read")
    return crops


def _crop_image(crop: np.ndarray, name: str) -> Image.Image | None:
    """A face (height, width, 3) of numbers 0 to 255 as an RGB image; None where it has no pixels."""
    if crop.size == 0:
        return None
    if crop.ndim == 4 and len(crop) == 1:
        crop = crop[0]
    if crop.ndim != 3 or crop.shape[2] != 3 or crop.dtype.kind not in "iuf":
        raise BadPhoto(f"legacy: {name}: a face of shape {crop.shape} and {crop.dtype}, not (height, width, 3)")
    if crop.shape[0] * crop.shape[1] > STORED_PIXELS:
        raise BadPhoto(f"legacy: {name}: a face of {crop.shape[1]} x {crop.shape[0]} pixels is larger than a photo")
    if crop.dtype != np.uint8:
        if not ((crop >= 0) & (crop <= 255)).all() or (crop.dtype.kind == "f" and (crop != np.rint(crop)).any()):
            raise BadPhoto(f"legacy: {name}: pixels must be whole numbers from 0 to 255")
        crop = crop.astype(np.uint8)
    return Image.fromarray(np.ascontiguousarray(crop))


def _scene_feature(array: np.ndarray, name: str) -> np.ndarray:
    if array.size != SCENE_FEATURE_DIM:
        raise BadPhoto(f"legacy: {name}: an array of shape {array.shape} where ({SCENE_FEATURE_DIM},) is expected")
    return _finite(array.reshape(-1), name).astype(np.float32)
