"""Column names, class names and Features: the contract between `ger_datasets` and `ger_models`.

| column | type | meaning |
|---|---|---|
| image_id | string | unique in the dataset; `split/class/stem` for folder datasets |
| image | Image | the photo, upright (EXIF applied), RGB |
| label | ClassLabel | Negative, Neutral, Positive, in this order; -1 where the labels are withheld |
| group | string | what must not be split: the video of a frame; else image_id |
| face_boxes | List(List(float32, 4)) | x1 y1 x2 y2, pixels of `image`, clipped to it, most confident first |
| face_scores | List(float32) | MTCNN's probability that this is a face |
| face_landmarks | List(List(float32, 10)) | x1 y1 ... x5 y5: eyes, nose, mouth corners, pixels of `image` |
| face_features | List(List(float32, 256)) | the last hidden layer of MTCNN's O-Net |
| face_expressions | List(List(float32, 7)) or None | probabilities of `EXPRESSIONS`, from an expression model |
| face_crops | List(Image) | the box as it is |
| aligned_faces | List(Image) | similarity-aligned, 96 wide x 112 high |
| sampled_patches | List(Image) | four fixed patches that stand in for faces where none is found, else empty |
| skeleton | Image or None | limbs on black |
| scene_feature | List(float32) or None | global CNN feature (2208-d for DenseNet-161) |
| region_boxes | List(List(float32, 4)) or None | x1 y1 x2 y2 of regions from feature archives, pixels of `image` |
| region_features | List(List(float32)) or None | the vector of each of these regions |

Datasets of videos also have `seconds` (float64): the time of the frame in its video.

All the `face_*` columns and `aligned_faces` of one row have the same length and the same order.
Images are stored as bytes inside the Parquet files, never as paths.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from datasets import Features

CLASS_NAMES = ("Negative", "Neutral", "Positive")
NO_LABEL = -1  # a photo whose label is withheld
SPLITS = ("train", "validation", "test")

FACE_FEATURE_DIM = 256
EXPRESSIONS = ("angry", "disgust", "fear", "happy", "neutral", "sad", "surprise")  # FER2013's order
FACE_COLUMNS = (  # those that come from one face detector, and its substitute where it finds none
    "face_boxes",
    "face_scores",
    "face_landmarks",
    "face_features",
    "face_crops",
    "aligned_faces",
    "sampled_patches",
)
# columns that datasets of earlier versions do not have
LATER_COLUMNS = ("face_expressions", "region_boxes", "region_features", "seconds")
ALIGNED_FACE_WIDTH, ALIGNED_FACE_HEIGHT = 96, 112  # pixels
Bin = tuple[int, int | None]  # from, to; both inclusive; None: no upper end
# of photos by their number of faces
FACE_COUNT_BINS: tuple[Bin, ...] = ((0, 0), (1, 1), (2, 4), (5, 9), (10, None))


def bin_name(low: int, high: int | None) -> str:
    """What a bin is called in tables.

    >>> bin_name(1, 1), bin_name(2, 4), bin_name(10, None)
    ('1', '2–4', '10 and more')
    """
    return f"{low} and more" if high is None else f"{low}" if low == high else f"{low}–{high}"


def binned(counts: Mapping[int, int], bins: Sequence[Bin]) -> list[tuple[str, int]]:
    """The name of each bin and the counts of the numbers within it."""

    def inside(value: int, low: int, high: int | None) -> bool:
        return low <= value and (high is None or value <= high)

    return [(bin_name(*edges), sum(n for value, n in counts.items() if inside(value, *edges))) for edges in bins]


def frame_features() -> dict[str, Any]:
    """The column `seconds` of datasets whose rows are frames: float64, from the video's start; None if unknown."""
    from datasets import Value

    return {"seconds": Value("float64")}


def features(class_names: Sequence[str] = CLASS_NAMES, extra: Mapping[str, Any] | None = None) -> Features:
    """The Features of a prepared dataset.

    Args:
        class_names: the names of the labels 0, 1, ...
        extra: the columns that only this dataset has, after the common ones.
    """
    from datasets import ClassLabel, Features, Image, List, Value  # here: importing it takes seconds

    return Features(
        {
            "image_id": Value("string"),
            "image": Image(),
            "label": ClassLabel(names=list(class_names)),
            "group": Value("string"),
            "face_boxes": List(List(Value("float32"), length=4)),
            "face_scores": List(Value("float32")),
            "face_landmarks": List(List(Value("float32"), length=10)),
            "face_features": List(List(Value("float32"), length=FACE_FEATURE_DIM)),
            "face_expressions": List(List(Value("float32"), length=len(EXPRESSIONS))),
            "face_crops": List(Image()),
            "aligned_faces": List(Image()),
            "sampled_patches": List(Image()),
            "skeleton": Image(),
            "scene_feature": List(Value("float32")),
            "region_boxes": List(List(Value("float32"), length=4)),
            "region_features": List(List(Value("float32"))),
            **(extra or {}),
        }
    )
