"""The predictions table: one row per photo with a model's logits, in one Parquet file.

| column | type | meaning |
|---|---|---|
| image_id | string | unique in the file |
| split | string | `train`, `validation`, `test` or another split's name |
| label | ClassLabel | the truth; -1 where it is withheld |
| logits | List(float32) | one number per class, in the order of the label's names, before any softmax |
| model | string | the model that made them: the same in every row |
| model_revision | string | its commit or another mark of the weights; empty, or no column, where it is not known |
| dataset_revision | string | the same of the dataset |
| faces | int32 or None | how many faces the photo had; the column may be missing |
| group | string | what must be drawn together in a bootstrap (the video of a frame); the column may be missing |
| face_attention | List(float32) or None | the shares of the most confident faces in the answer; it may be missing |
| face_expressions | List(List(float32)) or None | probabilities of the seven expressions of the same faces |
| seconds | float64 or None | when a frame is shown in its video; the column may be missing |
| route | string | which route of a routed ensemble answered the photo; the column may be missing |
| probabilities | List(float32) | calibrated probabilities of the classes; of calibrated models only |
| prediction_set | List(string) | the classes that cannot be ruled out, the most probable first; likewise |

`faces` counts those that the model counts: at least as sure as its processor's `min_face_score`.

Rows of different tables belong together by image_id, never by position: `joining.py`. Outputs that carry neither ids
nor file names get the ids that `position_ids` makes, which say so.

The class names travel in the file's schema, as `datasets` writes them, so `load_dataset("parquet", data_files=...)`
and pandas both open it. The schema may also carry a note under `ger_note`, what a reader must know before believing
any figure made from the table, under `ger_only` which photos were chosen by their number of faces, and under
`ger_calibration` the model's calibration as JSON, from which the last two columns are computed again by whoever reads
the table (`calibration.py`).
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from datasets import ClassLabel, Features, List, Value

from ger_datasets.prepared import ODD_NOTES
from ger_datasets.schema import NO_LABEL
from ger_datasets.support.atomic_files import replacing
from ger_datasets.support.errors import UserError, listing, one_line

from ..combining import parse_route, route_title
from .calibration import calibrated, checked_calibration, named_sets
from .metrics.group_emotion.figures import UNKNOWN_FACES

NOTE_KEY, ONLY_KEY, CALIBRATION_KEY = b"ger_note", b"ger_only", b"ger_calibration"
REQUIRED_COLUMNS = ("image_id", "split", "label", "logits", "model")
OPTIONAL_COLUMNS = (
    "model_revision",
    "dataset_revision",
    "faces",
    "group",
    "face_attention",
    "face_expressions",
    "route",
    "seconds",
    "clip",
)
_POSITION = re.compile(r"row \d+ of .+")


@dataclass(frozen=True, eq=False)
class Predictions:
    """A model's logits on some photos.

    >>> logits = np.array([[0.0, 1.0], [2.0, 0.0]], np.float32)
    >>> len(Predictions(["a", "b"], ["test", "test"], np.array([1, 0]), logits, "m", ["no", "yes"]).image_ids)
    2
    >>> Predictions(["a", "a"], ["test", "test"], np.array([1, 0]), logits, "m", ["no", "yes"])
    Traceback (most recent call last):
    ger_datasets.support.errors.UserError: image_id must be unique, ...

    Attributes:
        image_ids: (rows), unique.
        splits: (rows), the split of each photo.
        labels: (rows) int64, index into `class_names`; -1 where the truth is withheld.
        logits: (rows, classes) float32, finite.
        model: the name of the model.
        class_names: (classes), in the order of the logits.
        faces: (rows) int32, the number of faces of each photo, -1 where it is not known; or None.
        note: what a reader must know before believing the figures; shown wherever they are.
        groups: (rows), what each photo must be drawn together with, such as its video; or None.
        model_revision: the commit or another mark of the model's weights; empty where it is not known.
        dataset_revision: the same of the dataset.
        face_attention: (rows), the shares of a photo's most confident faces in the answer, None where the model does
            not have them; or None.
        face_expressions: (rows), the probabilities of the seven expressions of the same faces, None where the model
            does not predict them; or None.
        only: the route, such as `faces`, whose photos alone were predicted on; empty: no photo was left out.
        routes: (rows), the route of a routed ensemble that answered each photo; or None.
        calibration: the model's, see `calibration.checked_calibration`; or None.
        seconds: (rows), when each frame is shown in its video, None where it is not known; or None.
        clips: (rows), the clip that each frame is from, where several are cut from one video, which is then its group;
            or None.
        source: the archive that this was read from; empty for tables; not written.
        file: its name in messages; not written.

    Raises:
        UserError: on construction, where the parts do not fit together; the message says which and how.
    """

    image_ids: Sequence[str]
    splits: Sequence[str]
    labels: np.ndarray
    logits: np.ndarray
    model: str
    class_names: Sequence[str]
    faces: np.ndarray | None = None
    note: str = ""
    groups: Sequence[str] | None = None
    model_revision: str = ""
    dataset_revision: str = ""
    face_attention: Sequence[Sequence[float] | None] | None = None
    only: str = ""
    routes: Sequence[str] | None = None
    face_expressions: Sequence[Sequence[Sequence[float]] | None] | None = None
    calibration: Mapping[str, Any] | None = None
    seconds: Sequence[float | None] | None = None
    clips: Sequence[str] | None = None
    source: str = ""
    file: str = ""

    def __post_init__(self) -> None:
        put = object.__setattr__  # the dataclass is frozen
        put(self, "image_ids", [str(image_id) for image_id in self.image_ids])
        put(self, "splits", [str(split) for split in self.splits])
        put(self, "class_names", tuple(str(name) for name in self.class_names))
        put(self, "labels", _integers("labels", self.labels, np.int64))
        put(self, "logits", _matrix(self.logits))
        if self.faces is not None:
            put(self, "faces", _integers("faces", self.faces, np.int32))
        if self.groups is not None:
            put(self, "groups", [str(group) for group in self.groups])
        self._check()
        try:
            checked_calibration(self.calibration, self.class_names)
        except ValueError as error:
            raise UserError(f"{error}; write the table again with predict.py") from error

    def _check(self) -> None:
        rows, classes = len(self.image_ids), len(self.class_names)
        if rows == 0:
            raise UserError("there are no predictions: the table has no rows; run the model on at least one photo")
        if classes == 0 or len(set(self.class_names)) != classes:
            raise UserError(f"class names must be distinct and at least one, found {listing(self.class_names)}")
        columns: dict[str, Any] = {
            "splits": self.splits,
            "labels": self.labels,
            "logits": self.logits,
            "faces": self.faces,
        }
        columns |= {"groups": self.groups, "face_attention": self.face_attention, "routes": self.routes}
        columns |= {"face_expressions": self.face_expressions, "seconds": self.seconds, "clips": self.clips}
        for name, column in columns.items():
            if column is not None and len(column) != rows:
                raise UserError(f"{name} must have one entry per image_id: {rows} image_ids, {len(column)} {name}")
        if self.logits.shape[1] != classes:
            raise UserError(
                f"logits must have one number per class: {classes} classes ({listing(self.class_names)}), "
                f"found {self.logits.shape[1]} numbers per row; was the model trained on other classes?"
            )
        doubled = [image_id for image_id, count in Counter(self.image_ids).items() if count > 1]
        if doubled:
            raise UserError(
                f"image_id must be unique, {len(doubled)} occur more than once: {listing(doubled, 3)}; "
                "predict every photo once and write each model to its own file"
            )
        bad = np.flatnonzero(~np.isfinite(self.logits).all(axis=1)).tolist()
        if len(bad):
            raise UserError(
                f"logits must be finite, {len(bad)} of {rows} rows hold NaN or infinity: "
                f"{listing((self.image_ids[row] for row in bad), 3)}; the model has diverged or overflowed"
            )
        bad = np.flatnonzero((self.labels < NO_LABEL) | (self.labels >= classes)).tolist()
        if len(bad):
            raise UserError(
                f"labels must lie between 0 and {classes - 1}, or be {NO_LABEL} where withheld; {len(bad)} of {rows} "
                f"do not: {listing((f'{self.image_ids[row]} has {self.labels[row]}' for row in bad), 3)}"
            )

    def __len__(self) -> int:
        return len(self.image_ids)

    @property
    def split_names(self) -> list[str]:
        """The splits there are, in the order of their first rows."""
        return list(dict.fromkeys(self.splits))

    def select(self, split: str) -> Predictions:
        """The rows of one split.

        Raises:
            UserError: no row belongs to `split`; the message lists the splits there are.
        """
        rows = [row for row, name in enumerate(self.splits) if name == split]
        if not rows:
            raise UserError(f"no predictions for the split {split!r}; the table has {listing(self.split_names)}")
        return self.take(rows)

    @property
    def remarks(self) -> str:
        """The note, and which photos alone these are: what belongs beside any figure."""
        only = f"Only {route_title(self.only)}" if self.only else ""
        return "; ".join(filter(None, (only, self.note)))

    def take(self, rows: Sequence[int]) -> Predictions:
        """The rows at these positions, in this order."""
        return replace(
            self,
            image_ids=[self.image_ids[row] for row in rows],
            splits=[self.splits[row] for row in rows],
            labels=self.labels[rows],
            logits=self.logits[rows],
            faces=None if self.faces is None else self.faces[rows],
            groups=None if self.groups is None else [self.groups[row] for row in rows],
            face_attention=None if self.face_attention is None else [self.face_attention[row] for row in rows],
            routes=None if self.routes is None else [self.routes[row] for row in rows],
            face_expressions=None if self.face_expressions is None else [self.face_expressions[row] for row in rows],
            seconds=None if self.seconds is None else [self.seconds[row] for row in rows],
            clips=None if self.clips is None else [self.clips[row] for row in rows],
        )

    def chosen(self, only: str) -> Predictions:
        """The photos of a route, by their number of faces.

        Args:
            only: the route's name: see `ger_models.combining.parse_route`.

        Raises:
            UserError: the number of faces of some photo is not known, or no photo is in the route.
        """
        rows = np.flatnonzero(parse_route(only).holds(self.known_faces()))
        if not len(rows):
            raise UserError(f"none of the {len(self):,} photos of {self.model} is one of the {route_title(only)}")
        return replace(self.take(rows.tolist()), only=only)

    def known_faces(self) -> np.ndarray:
        """(rows,) the number of faces of each photo.

        Raises:
            UserError: it is not known of all photos.
        """
        unknown = len(self) if self.faces is None else int((self.faces == UNKNOWN_FACES).sum())
        if self.faces is None or unknown:
            raise UserError(
                f"{unknown:,} of {len(self):,} photos of {self.model} have no number of faces, which is needed to "
                "tell which route they are in: write the table again with predict.py"
            )
        return self.faces


def position_ids(rows: int, split: str) -> list[str]:
    """Ids for rows of which nothing is known but where they stand.

    >>> position_ids(2, "test")
    ['row 0 of test', 'row 1 of test']
    """
    return [f"row {row} of {split}" for row in range(rows)]


def is_position(image_id: str) -> bool:
    """Whether this is one of `position_ids`: it names a place, not a photo.

    >>> is_position("row 7 of test"), is_position("test/Positive/pos_7")
    (True, False)
    """
    return _POSITION.fullmatch(image_id) is not None


def write_predictions(path: str | Path, predictions: Predictions) -> None:
    """Write the table to `path`, in place of what was there; whole or not at all.

    Raises:
        UserError: the file cannot be written.
    """
    rows, classes = predictions.logits.shape
    offsets = np.arange(0, rows * classes + 1, classes, dtype=np.int32)
    columns: dict[str, pa.Array] = {
        "image_id": pa.array(predictions.image_ids, pa.string()),
        "split": pa.array(predictions.splits, pa.string()),
        "label": pa.array(predictions.labels),
        "logits": pa.ListArray.from_arrays(offsets, pa.array(predictions.logits.reshape(-1))),
        "model": pa.array([predictions.model] * rows, pa.string()),
        "model_revision": pa.array([predictions.model_revision] * rows, pa.string()),
        "dataset_revision": pa.array([predictions.dataset_revision] * rows, pa.string()),
    }
    types = {
        "image_id": Value("string"),
        "split": Value("string"),
        "label": ClassLabel(names=list(predictions.class_names)),
        "logits": List(Value("float32")),
        "model": Value("string"),
        "model_revision": Value("string"),
        "dataset_revision": Value("string"),
    }
    if predictions.faces is not None:
        columns["faces"] = pa.array(predictions.faces, mask=predictions.faces == UNKNOWN_FACES)
        types["faces"] = Value("int32")
    if predictions.groups is not None:
        columns["group"] = pa.array(predictions.groups, pa.string())
        types["group"] = Value("string")
    if predictions.face_attention is not None:
        columns["face_attention"] = pa.array(predictions.face_attention, pa.list_(pa.float32()))
        types["face_attention"] = List(Value("float32"))
    if predictions.routes is not None:
        columns["route"] = pa.array(predictions.routes, pa.string())
        types["route"] = Value("string")
    if predictions.face_expressions is not None:
        columns["face_expressions"] = pa.array(predictions.face_expressions, pa.list_(pa.list_(pa.float32())))
        types["face_expressions"] = List(List(Value("float32")))
    if predictions.calibration is not None:
        shares = calibrated(predictions.logits, predictions.calibration).astype(np.float32)
        sets = named_sets(predictions.logits, predictions.calibration, predictions.class_names)
        columns["probabilities"] = pa.ListArray.from_arrays(offsets, pa.array(shares.reshape(-1)))
        columns["prediction_set"] = pa.array(sets, pa.list_(pa.string()))
        types |= {"probabilities": List(Value("float32")), "prediction_set": List(Value("string"))}
    if predictions.seconds is not None:
        columns["seconds"] = pa.array(predictions.seconds, pa.float64())
        types["seconds"] = Value("float64")
    if predictions.clips is not None:
        columns["clip"] = pa.array(predictions.clips, pa.string())
        types["clip"] = Value("string")
    schema = Features(types).arrow_schema
    marks = {NOTE_KEY: predictions.note.encode(), ONLY_KEY: predictions.only.encode()}
    if predictions.calibration is not None:
        marks[CALIBRATION_KEY] = json.dumps(dict(predictions.calibration)).encode()
    schema = schema.with_metadata({**schema.metadata, **{key: mark for key, mark in marks.items() if mark}})
    table = pa.Table.from_arrays(list(columns.values()), schema=schema)
    with replacing(path) as handle:
        pq.write_table(table, handle)


def read_predictions(path: str | Path) -> Predictions:
    """Read a predictions table.

    Raises:
        UserError: there is no such file, it is not Parquet, or it is not a predictions table; the message says what
            was found.
    """
    path = Path(path)
    try:
        with open(path, "rb") as handle:  # a handle: pyarrow never gets to interpret the name
            file = pq.ParquetFile(handle)
            schema = file.schema_arrow
            columns = _columns(schema.names)
            class_names = _class_names(schema)
            table = file.read(columns=columns)
        marks = [(schema.metadata or {}).get(key, b"").decode() for key in (NOTE_KEY, ONLY_KEY, CALIBRATION_KEY)]
        predictions = _from_table(table, class_names)
        return replace(predictions, note=marks[0], only=_route(marks[1]), calibration=_calibration(marks[2]))
    except FileNotFoundError as error:
        raise UserError(f"no predictions table at {path}{_neighbours(path)}; predict.py writes one") from error
    except UserError as error:
        raise UserError(f"{path}: {error}") from error
    except (pa.ArrowException, UnicodeDecodeError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"{path} is not a readable Parquet file ({reason}); write it again with predict.py") from error
    except OSError as error:
        raise UserError(f"cannot read {path}: {one_line(error)}; name a Parquet file") from error


def _columns(names: Sequence[str]) -> list[str]:
    missing = [name for name in REQUIRED_COLUMNS if name not in names]
    if missing:
        raise UserError(
            f"not a predictions table: the columns {listing(missing)} are missing, there are {listing(names)}; "
            "write it with predict.py"
        )
    return [*REQUIRED_COLUMNS, *(name for name in OPTIONAL_COLUMNS if name in names)]


def _class_names(schema: pa.Schema) -> list[str]:
    try:
        label = Features.from_arrow_schema(schema)["label"]
    except ODD_NOTES as error:
        raise UserError(f"the schema's notes for datasets cannot be read ({error}); write the table again") from error
    if not isinstance(label, ClassLabel) or not label.names:
        raise UserError(
            "the label column carries no class names (pandas, for one, drops them); "
            "write the table with predict.py or with datasets and a ClassLabel"
        )
    return label.names


def _route(name: str) -> str:
    """The same, if it is empty or a route's name; UserError if not."""
    try:
        if name:
            parse_route(name)
    except ValueError as error:
        raise UserError(f"ger_only in the schema: {error}; write the table again with predict.py") from error
    return name


def _calibration(text: str) -> Any:
    """The JSON value in `text`, None if it is empty; UserError if it is not JSON."""
    try:
        return json.loads(text) if text else None
    except (ValueError, RecursionError) as error:
        raise UserError("ger_calibration in the schema is not JSON; write the table again with predict.py") from error


def _from_table(table: pa.Table, class_names: list[str]) -> Predictions:
    if table.num_rows == 0:
        raise UserError("there are no predictions: the table has no rows; run the model on at least one photo")
    for name in ("image_id", "split", "logits", "model"):
        if table[name].null_count:
            raise UserError(f"{table[name].null_count} of {table.num_rows} rows have no {name}; fill them in")
    model = _only(table, "model")
    image_ids = _cast(table, "image_id", pa.string()).to_pylist()
    faces = None
    if "faces" in table.column_names:
        faces = pc.fill_null(_cast(table, "faces", pa.int32()), UNKNOWN_FACES).to_numpy()
    attention = None
    if "face_attention" in table.column_names:
        attention = _cast(table, "face_attention", pa.list_(pa.float32())).to_pylist()
    expressions = None
    if "face_expressions" in table.column_names:
        expressions = _cast(table, "face_expressions", pa.list_(pa.list_(pa.float32()))).to_pylist()
    seconds = _cast(table, "seconds", pa.float64()).to_pylist() if "seconds" in table.column_names else None
    return Predictions(
        image_ids=image_ids,
        splits=_cast(table, "split", pa.string()).to_pylist(),
        labels=pc.fill_null(_cast(table, "label", pa.int64()), NO_LABEL).to_numpy(),
        logits=_logits(_cast(table, "logits", pa.list_(pa.float32())), image_ids),
        model=model,
        class_names=class_names,
        faces=faces,
        groups=_named(table, "group", image_ids),
        clips=_named(table, "clip", image_ids),
        model_revision=_only(table, "model_revision"),
        dataset_revision=_only(table, "dataset_revision"),
        face_attention=attention,
        routes=_routes(table),
        face_expressions=expressions,
        seconds=seconds,
    )


def _only(table: pa.Table, name: str) -> str:
    """The one value of a column that is the same in every row; empty where there is no such column."""
    if name not in table.column_names:
        return ""
    values = pc.unique(pc.fill_null(_cast(table, name, pa.string()), "")).to_pylist()
    if len(values) > 1:
        raise UserError(f"one {name} per table, found {len(values)}: {listing(values)}; write each to its own file")
    return values[0]


def _named(table: pa.Table, name: str, image_ids: list[str]) -> list[str] | None:
    """The groups or clips; a photo without one stands alone."""
    if name not in table.column_names:
        return None
    groups = _cast(table, name, pa.string()).to_pylist()
    return [image_id if group is None else group for group, image_id in zip(groups, image_ids, strict=True)]


def _routes(table: pa.Table) -> list[str] | None:
    if "route" not in table.column_names:
        return None
    return pc.fill_null(_cast(table, "route", pa.string()), "").to_pylist()


def _cast(table: pa.Table, name: str, to: pa.DataType) -> pa.ChunkedArray:
    try:
        return table[name].cast(to, safe=not pa.types.is_list(to))  # logits may be float64 in the file
    except pa.ArrowException as error:
        raise UserError(
            f"the column {name} must be {to}, found {table[name].type}; write it with predict.py"
        ) from error


def _logits(column: pa.ChunkedArray, image_ids: list[str]) -> np.ndarray:
    lengths = pc.list_value_length(column).to_numpy()  # (rows,)
    if (lengths != lengths[0]).any():
        odd = np.flatnonzero(lengths != np.bincount(lengths).argmax())
        raise UserError(
            f"logits must have the same number of entries in every row, {len(odd)} of {len(lengths)} rows differ: "
            f"{listing((f'{image_ids[row]} has {lengths[row]}' for row in odd), 3)}; write the table again"
        )
    values = pc.list_flatten(column).to_numpy()  # (rows * classes,), NaN where there is none
    return values.reshape(len(lengths), int(lengths[0]))  # (rows, classes)


def _integers(name: str, values: np.ndarray | Sequence[int], dtype: type[np.integer]) -> np.ndarray:
    array = np.asarray(values)
    if array.ndim != 1 or (array.size and not np.issubdtype(array.dtype, np.integer)):
        raise UserError(f"{name} must be one integer per row, found {array.dtype} of shape {array.shape}")
    return array.astype(dtype)


def _matrix(values: np.ndarray | Sequence[Sequence[float]]) -> np.ndarray:
    try:
        array = np.asarray(values, dtype=np.float32)
    except (ValueError, TypeError) as error:
        raise UserError(f"logits must be numbers, equally many in every row: {error}") from error
    if array.size == 0 and array.ndim == 1:
        array = array.reshape(0, 0)
    if array.ndim != 2:
        raise UserError(f"logits must be a table of rows and classes, found shape {array.shape}")
    return array


def _neighbours(path: Path) -> str:
    try:
        names = sorted(item.name for item in path.parent.iterdir() if item.suffix == ".parquet")
    except OSError:
        return f": there is no folder {path.parent}"
    return f"; the folder has {listing(names)}" if names else ""
