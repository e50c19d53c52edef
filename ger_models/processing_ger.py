"""A dataset row or a raw photo -> tensors. Saved and loaded with the checkpoint."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from PIL import Image
from transformers import BatchFeature
from transformers.image_processing_utils import BaseImageProcessor

from .configuration_ger import FACE_HEIGHT, FACE_WIDTH
from .processing_faces import CONTEXT, RANDOM_NUMBERS, augmented, square_faces
from .processing_pixels import Preprocessing, cut, jpeg_size, normalized, pixels_of, reduced_pixels_of

PATCH_WIDTH, PATCH_HEIGHT = 112, 96  # pixels, of a sampled patch
FACE_MEAN, FACE_STD = torch.full((3,), 127.5), torch.full((3,), 128.0)  # as SphereFace takes them
AUGMENTATION = "augmentation"  # in raw tensors of training: random numbers for each square face
GREY_MEAN, GREY_STD = torch.full((1,), 127.5), torch.full((1,), 127.5)  # to -1 ... 1
INTERPOLATIONS = ("bilinear", "bicubic")  # those that PyTorch computes with anti-aliasing
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
# The part of an aligned face (x1 y1 x2 y2) that the original's faces show: 112 wide x 96 high, the eyes at 30 % and
# 70 % of the width and at 30 % of the height
PUBLISHED_FACE_BOX = (4, 29, 92, 104)
FACE_COLUMNS = frozenset(("aligned_faces", "face_boxes", "face_features"))  # columns with one item per face


class GerProcessor(BaseImageProcessor):
    """Converts rows of a prepared dataset, or photos, to a model's inputs. Each row is processed on its own, so its
    tensors never depend on its batch, except for the padding of the faces.

    | input column | tensors |
    |---|---|
    | `image` or `skeleton` | `pixel_values` (batch, 3, crop_size, crop_size) float32; a missing skeleton is black |
    | `aligned_faces` | `face_pixels` (total_faces, 3, 112, 96) float32, all rows concatenated, and \
`face_counts` (batch,) int64 |
    | `sampled_patches` | `patch_pixels` (total_patches, 3, 96, 112) float32, or squares of `patch_side`, and \
`patch_counts` (batch,) int64 |
    | `face_features` | `face_features` (batch, faces, 256) float32 and `face_mask` (batch, faces) bool |
    | `face_boxes` | `expression_pixels` (total_faces, 1, face_side, face_side) float32, grey squares cut out of \
`image`, all rows concatenated, and `face_counts` (batch,) int64 |
    | `image_feature` | `image_features` (batch, width) float32, the backbone's vectors, precomputed |
    | `scene_feature` | `scene_feature` (batch, scene_dim) float32 and `scene_mask` (batch,) bool |

    Args:
        columns: the columns that the model reads.
        resize_shorter: the photo's shorter side is resized to this many pixels before the centre crop (evaluation).
        crop_size: side of the square the model sees, in pixels.
        keep_aspect: False resizes the whole photo to that square instead of cropping its centre (evaluation).
        crop_scale: minimum share of the photo's area that a random crop covers (training).
        image_mean: per channel, of pixels from 0 to 1.
        image_std: per channel.
        interpolation: how the photo is resized to the square: `bilinear` or `bicubic`, anti-aliased.
        max_faces: maximum number of faces, the most confident first; the original used 15.
        min_face_score: faces with a lower detection score, 0 to 1, are left out. MTCNN's scores are 0.7 to 0.87 for
            hands and patterns, and 0.93 or more for faces that are not very small.
        scene_dim: length of the scene feature.
        face_dim: length of a face's feature.
        face_side: side of the squares around the faces, in pixels.
        preprocessing: fields of `Preprocessing`, for photos as a backbone's own configuration wants them (evaluation);
            None: `resize_shorter`, `crop_size`, `keep_aspect`, `image_mean` and `image_std` say how.
        renamed: a column that the model reads -> the dataset's column that holds it, such as `{"image_feature":
            "siglip"}`.
        face_scale: side of such a square in the photo, relative to the box's longer side. On enlarged FER2013 faces
            the longer side of MTCNN's box is 1.04 times the picture's side (median), so that 1 gives FER2013's crop.
        patch_side: side of the squares that sampled patches are brought to, in pixels; 0: they stay 112 wide, 96 high.
        published_faces: make `face_pixels` (total_faces, 3, 96, 112) from 0 to 1, as the original did: the part of
            each aligned face that it kept, or all of a face of another size. For models that are `as_published`.
    """

    model_input_names = (
        "pixel_values",
        "face_features",
        "face_mask",
        "face_pixels",
        "face_counts",
        "patch_pixels",
        "patch_counts",
        "expression_pixels",
        "scene_feature",
        "scene_mask",
        "image_features",
    )

    def __init__(
        self,
        columns: Sequence[str] = ("image",),
        resize_shorter: int = 256,
        crop_size: int = 224,
        keep_aspect: bool = True,
        crop_scale: float = 0.35,
        image_mean: Sequence[float] = IMAGENET_MEAN,
        image_std: Sequence[float] = IMAGENET_STD,
        max_faces: int = 15,
        scene_dim: int = 0,
        face_dim: int = 256,
        face_side: int = 48,
        face_scale: float = 1.0,
        min_face_score: float = 0.0,
        preprocessing: Mapping[str, Any] | None = None,
        renamed: Mapping[str, str] | None = None,
        interpolation: str = "bilinear",
        patch_side: int = 0,
        published_faces: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.columns = list(columns)
        self.resize_shorter = resize_shorter
        self.crop_size = crop_size
        self.keep_aspect = keep_aspect
        self.crop_scale = crop_scale
        self.image_mean = list(image_mean)
        self.image_std = list(image_std)
        self.max_faces = max_faces
        self.scene_dim = scene_dim
        self.face_dim = face_dim
        self.face_side = face_side
        self.face_scale = face_scale
        self.min_face_score = min_face_score
        self.renamed = dict(renamed or {})
        self.preprocessing = None if preprocessing is None else dict(preprocessing)
        if preprocessing is not None:
            own = Preprocessing.from_dict(preprocessing)
            if own.height != own.width:
                raise ValueError(f"GerProcessor takes square photos, not {own.height} x {own.width}")
            self.crop_size, self.resize_shorter = own.height, max(own.shorter, own.height)
            self.image_mean, self.image_std = list(own.mean), list(own.std)
            # for training's random crops, which torch resizes; lanczos is close to bicubic
            interpolation = "bilinear" if own.interpolation == "bilinear" else "bicubic"
        self.interpolation = interpolation
        self.patch_side = patch_side
        self.published_faces = published_faces
        unknown = [column for column in self.columns if column not in self._makers()]
        if unknown or not self.columns:
            raise ValueError(f"GerProcessor.columns must name some of {', '.join(self._makers())}, not {self.columns}")
        if not 0 < crop_size <= resize_shorter:
            raise ValueError(
                f"GerProcessor.crop_size must be from 1 to resize_shorter ({resize_shorter}), not {crop_size}"
            )
        if isinstance(min_face_score, bool) or not 0 <= min_face_score <= 1:
            raise ValueError(f"GerProcessor.min_face_score must be from 0 to 1, not {min_face_score}")
        if max_faces < 1:
            raise ValueError(f"GerProcessor.max_faces must be 1 or more, not {max_faces}")
        if interpolation not in INTERPOLATIONS:
            raise ValueError(
                f"GerProcessor.interpolation must be one of {', '.join(INTERPOLATIONS)}, not {interpolation!r}"
            )

    @property
    def row_columns(self) -> list[str]:
        """The columns that a row must have: `columns`, the photo if faces are cropped from it, and the faces' scores
        if `min_face_score` is set."""
        needed = ["image"] if "face_boxes" in self.columns else []
        if self.min_face_score and self.reads_faces:
            needed.append("face_scores")
        return list(dict.fromkeys([self.renamed.get(column, column) for column in [*self.columns, *needed]]))

    @property
    def reads_faces(self) -> bool:
        """Whether a column that it reads has one item for each face."""
        return bool(FACE_COLUMNS.intersection(self.columns))

    def face_limit(self, row: Mapping[str, Any]) -> int:
        """The number of faces of a row that the model may see. Rows list the most confident faces first."""
        if not self.min_face_score:
            return self.max_faces
        return min(sure_faces(row, self.min_face_score), self.max_faces)

    def _makers(self) -> dict[str, Any]:
        return {
            "image": self._images,
            "skeleton": self._skeletons,
            "aligned_faces": self._aligned_faces,
            "face_boxes": self._square_faces,
            "face_features": self._faces,
            "sampled_patches": self._patches,
            "scene_feature": self._scenes,
            "image_feature": self._image_features,
        }

    def __call__(self, images: Any, **kwargs: Any) -> BatchFeature:
        return self.preprocess(images, **kwargs)

    def preprocess(
        self,
        images: Any,
        generators: Sequence[torch.Generator] | None = None,
        return_tensors: str = "pt",
    ) -> BatchFeature:
        """Make a model's inputs.

        Args:
            images: rows of a prepared dataset (mappings with the columns the model reads), or PIL images; one or many.
                The images of a row are PIL images, or `{"bytes": ..., "path": ...}`, not decoded yet.
            generators: one per row, for training augmentation. None: evaluation.
            return_tensors: only "pt".

        Raises:
            ValueError: a row lacks a column; the message names it and says how to add it.
        """
        if return_tensors != "pt":
            raise ValueError(f"return_tensors must be 'pt', not {return_tensors!r}")
        return BatchFeature(self.finish(self.raw(images, generators)))

    def raw(self, images: Any, generators: Sequence[torch.Generator] | None = None) -> dict[str, torch.Tensor]:
        """As `preprocess`, but with pixels as uint8 from 0 to 255, a quarter of the memory to transfer.

        Raises:
            ValueError: as `preprocess`.
        """
        given = [images] if isinstance(images, (Mapping, Image.Image)) else list(images)
        rows: list[Mapping[str, Any]] = [{"image": row} if isinstance(row, Image.Image) else row for row in given]
        if not rows:
            raise ValueError("nothing to process: the list of photos is empty")
        missing = sorted({column for row in rows for column in self.row_columns if column not in row})
        if missing:
            raise ValueError(
                f"the rows have no {', '.join(missing)}, which this model reads: they have "
                f"{', '.join(sorted(rows[0]))}; prepare.py makes datasets that have it"
            )
        rows = [{**row, **{name: row[source] for name, source in self.renamed.items()}} for row in rows]
        tensors: dict[str, torch.Tensor] = {}
        for column in self.columns:
            tensors |= self._makers()[column](rows, generators)
        return tensors

    def finish(self, tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Normalise the pixels of `raw` tensors to float32 on their device, and augment square faces in training."""
        tensors = dict(tensors)
        if AUGMENTATION in tensors:
            faces = tensors["expression_pixels"].float()
            tensors["expression_pixels"] = augmented(faces, tensors.pop(AUGMENTATION), self.face_side)
        mean, std = (torch.tensor(values) * 255 for values in (self.image_mean, self.image_std))
        scales = {"pixel_values": (mean, std), "patch_pixels": (mean, std), "face_pixels": (FACE_MEAN, FACE_STD)}
        if self.published_faces:
            scales["face_pixels"] = torch.zeros(3), torch.full((3,), 255.0)
        scales["expression_pixels"] = (GREY_MEAN, GREY_STD)
        return {name: normalized(t, *scales[name]) if name in scales else t for name, t in tensors.items()}

    def _images(
        self, rows: Sequence[Mapping], generators: Sequence[torch.Generator] | None
    ) -> dict[str, torch.Tensor]:
        return self._pixel_values([row["image"] for row in rows], generators)

    def _skeletons(
        self, rows: Sequence[Mapping], generators: Sequence[torch.Generator] | None
    ) -> dict[str, torch.Tensor]:
        black = Image.new("RGB", (self.crop_size, self.crop_size))
        return self._pixel_values([row["skeleton"] or black for row in rows], generators)

    def _pixel_values(
        self, images: Sequence[Any], generators: Sequence[torch.Generator] | None
    ) -> dict[str, torch.Tensor]:
        if generators is None and self.preprocessing is not None:
            own = Preprocessing.from_dict(self.preprocessing)
            return {"pixel_values": torch.stack([own.pixels(pixels_of(image)) for image in images])}
        pixels = _empty(len(images), self.crop_size, self.crop_size)
        for i, image in enumerate(images):
            pixels[i] = self._centre(pixels_of(image)) if generators is None else self._augmented(image, generators[i])
        return {"pixel_values": pixels}

    def _aligned_faces(
        self, rows: Sequence[Mapping], generators: Sequence[torch.Generator] | None
    ) -> dict[str, torch.Tensor]:
        """Concatenated faces; in training, half of them are mirrored."""
        per_row = [row["aligned_faces"][: self.face_limit(row)] for row in rows]
        mirrored = None if generators is None else _coins(generators, per_row)
        width, height = (PATCH_WIDTH, PATCH_HEIGHT) if self.published_faces else (FACE_WIDTH, FACE_HEIGHT)
        return {
            "face_pixels": _packed(per_row, width, height, mirrored, self.published_faces),
            "face_counts": torch.tensor([len(faces) for faces in per_row]),
        }

    def _square_faces(
        self, rows: Sequence[Mapping], generators: Sequence[torch.Generator] | None
    ) -> dict[str, torch.Tensor]:
        """Concatenated squares around the boxes; in training, larger ones and the numbers that augment them."""
        training = generators is not None
        side = round(self.face_side * (CONTEXT if training else 1))
        scale = self.face_scale * (CONTEXT if training else 1)
        cut = []
        for row in rows:
            boxes = row["face_boxes"][: self.face_limit(row)]
            photo = pixels_of(row["image"]) if len(boxes) else torch.empty(3, 0, 0, dtype=torch.uint8)
            cut.append(square_faces(photo, boxes, side, scale))
        counts = [len(faces) for faces in cut]
        pixels = torch.cat(cut).round_().clamp_(0, 255).to(torch.uint8)
        tensors = {"expression_pixels": pixels, "face_counts": torch.tensor(counts)}
        if generators is not None:
            numbers = [torch.rand(n, RANDOM_NUMBERS, generator=g) for n, g in zip(counts, generators, strict=True)]
            tensors[AUGMENTATION] = torch.cat(numbers)
        return tensors

    def _patches(self, rows: Sequence[Mapping], generators: object) -> dict[str, torch.Tensor]:
        per_row = [row["sampled_patches"] for row in rows]
        packed = _packed(per_row, self.patch_side or PATCH_WIDTH, self.patch_side or PATCH_HEIGHT)
        return {"patch_pixels": packed, "patch_counts": torch.tensor([len(p) for p in per_row])}

    def _centre(self, photo: torch.Tensor) -> torch.Tensor:
        height, width = photo.shape[1:]
        if not self.keep_aspect:
            return cut(photo, (0, 0, width, height), self.crop_size, self.crop_size, self.interpolation)
        # crop first, so that only the kept pixels are resampled
        side = self.crop_size * min(width, height) / self.resize_shorter
        left, top = (width - side) / 2, (height - side) / 2
        return cut(photo, (left, top, left + side, top + side), self.crop_size, self.crop_size, self.interpolation)

    def _augmented(self, image: Any, generator: torch.Generator) -> torch.Tensor:
        """A random crop of random shape (Inception, Szegedy et al. 2015: aspect 3/4 to 4/3), flipped half the time.

        An encoded JPEG is decoded at the smallest scale that is large enough for the crop.
        """
        size, photo = jpeg_size(image), None
        if size is None:
            photo = pixels_of(image)
            size = photo.shape[2], photo.shape[1]
        area_share, log_aspect, x, y, flip = torch.rand(5, generator=generator).tolist()
        area = size[0] * size[1] * (self.crop_scale + (1 - self.crop_scale) * area_share)
        aspect = math.exp(math.log(3 / 4) + log_aspect * (math.log(4 / 3) - math.log(3 / 4)))
        width, height = min(math.sqrt(area * aspect), size[0]), min(math.sqrt(area / aspect), size[1])
        left, top = x * (size[0] - width), y * (size[1] - height)
        if photo is None:
            photo = reduced_pixels_of(image, size[0] * self.crop_size / width, size[1] * self.crop_size / height)
        scale = round(8 * max(photo.shape[1:]) / max(size)) / 8  # ignores the rounding of the last block
        box = (left * scale, top * scale, (left + width) * scale, (top + height) * scale)
        square = cut(photo, box, self.crop_size, self.crop_size, self.interpolation)
        return square.flip(-1) if flip < 0.5 else square

    def _faces(self, rows: Sequence[Mapping], generators: object) -> dict[str, torch.Tensor]:
        per_row = [torch.as_tensor(row["face_features"], dtype=torch.float32)[: self.face_limit(row)] for row in rows]
        slots = max(1, max(len(features) for features in per_row))  # at least one, even if no photo has a face
        faces = torch.zeros(len(rows), slots, self.face_dim)
        mask = torch.zeros(len(rows), slots, dtype=torch.bool)
        for i, features in enumerate(per_row):
            photo = rows[i].get("image_id", f"row {i}")
            if not features.isfinite().all():
                raise ValueError(f"face_features of {photo} hold NaN or infinity")
            if len(features) and features.shape[1:] != (self.face_dim,):
                name = self.renamed.get("face_features", "face_features")
                raise ValueError(
                    f"{name} of {photo} must be {self.face_dim} numbers for each face, "
                    f"found {features.shape[-1]}; it was made by a different encoder than in training"
                )
            if len(features):
                faces[i, : len(features)], mask[i, : len(features)] = features, True
        return {"face_features": faces, "face_mask": mask}

    def _scenes(self, rows: Sequence[Mapping], generators: object) -> dict[str, torch.Tensor]:
        scenes = torch.zeros(len(rows), self.scene_dim)
        mask = torch.zeros(len(rows), dtype=torch.bool)
        for i, row in enumerate(rows):
            if row["scene_feature"] is not None:
                feature = torch.as_tensor(row["scene_feature"], dtype=torch.float32)
                if feature.shape != (self.scene_dim,) or not feature.isfinite().all():
                    raise ValueError(
                        f"scene_feature of {row.get('image_id', f'row {i}')} must be {self.scene_dim} finite numbers, "
                        f"found {len(feature)}; it was made by a different scene model than in training"
                    )
                scenes[i], mask[i] = feature, True
        return {"scene_feature": scenes, "scene_mask": mask}

    def _image_features(self, rows: Sequence[Mapping], generators: object) -> dict[str, torch.Tensor]:
        vectors = [row["image_feature"] for row in rows]
        empty = [row.get("image_id", f"row {i}") for i, row in enumerate(rows) if row["image_feature"] is None]
        widths = sorted({len(vector) for vector in vectors if vector is not None})
        if empty or len(widths) > 1:
            name = self.renamed.get("image_feature", "image_feature")
            found = f"{empty[0]} has none" if empty else f"found vectors of {' and '.join(map(str, widths))} numbers"
            raise ValueError(f"the column {name} must hold one vector for each photo: {found}")
        return {"image_features": torch.tensor(vectors, dtype=torch.float32)}


def sure_faces(row: Mapping[str, Any], min_face_score: float) -> int:
    """How many of a row's faces count: those with this score or more, which stand first."""
    return sum(bool(score >= min_face_score) for score in row["face_scores"])


def _packed(
    per_row: Sequence[Sequence[Any]],
    width: int,
    height: int,
    mirrored: Sequence[bool] | None = None,
    published: bool = False,
) -> torch.Tensor:
    """The concatenated images of all rows: (images, 3, height, width) uint8; if `published`, PUBLISHED_FACE_BOX of
    aligned faces."""
    count = sum(map(len, per_row))
    pixels = _empty(count, height, width)
    for i, image in enumerate(image for images in per_row for image in images):
        photo = pixels_of(image)
        is_aligned = published and photo.shape[1:] == (FACE_HEIGHT, FACE_WIDTH)
        box = PUBLISHED_FACE_BOX if is_aligned else (0, 0, photo.shape[2], photo.shape[1])
        photo = cut(photo, box, width, height)
        pixels[i] = photo.flip(-1) if mirrored and mirrored[i] else photo
    return pixels


def _empty(count: int, height: int, width: int) -> torch.Tensor:
    """(count, 3, height, width) uint8; in memory the colours of a pixel stand together, as decoders give them."""
    return torch.empty(count, height, width, 3, dtype=torch.uint8).permute(0, 3, 1, 2)


def _coins(generators: Sequence[torch.Generator], per_row: Sequence[Sequence[Any]]) -> list[bool]:
    """A random boolean for each image of each row, from the row's generator."""
    rows = zip(per_row, generators, strict=True)
    return [coin < 0.5 for images, generator in rows for coin in torch.rand(len(images), generator=generator).tolist()]
