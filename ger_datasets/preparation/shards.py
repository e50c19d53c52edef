"""Shards: which photos go into which Parquet file, and how one is written completely or not at all."""

from __future__ import annotations

import hashlib
import os
import warnings
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from .. import schema
from ..detectors import DEFAULT_DETECTOR, make_detector
from ..faces import Faces
from ..faces.columns import encoded, photo_columns, whole_pictures
from ..photos.duplicates import perceptual_hash
from ..photos.reading import Photo, decode_photo, in_groups
from ..records import Record
from ..support.errors import BadPhoto, UserError, one_line, printable
from .column_sources import BatchSource, ColumnSource, PhotoSource, kind_of, source_settings

SHARD_ROWS = 100  # at most; also about what a crash can cost each process
GROUP_ROWS = 25  # photos that are worked on together: one Parquet row group, what a streaming reader fetches at once
GROUP_PIXELS = 50_000_000  # maximum number of their pixels, so that large photos do not fill the memory
GROUP_BYTES = 95_000_000  # maximum of a row group's images; the Hub's viewer opens row groups of up to 100 MB


@dataclass(frozen=True)
class Shard:
    """One Parquet file that is to be written: its name and the records that go into it, in order."""

    name: str
    split: str
    records: Sequence[Record]


@dataclass(frozen=True)
class Work:
    """What every process that writes shards of one dataset needs to know.

    Attributes:
        source: the raw folder; quarantined files are named relative to it.
        data_folder: where the shards go.
        class_names: the names of the labels.
        extra_features: the columns that only this dataset has.
        sources: what fills the columns that do not follow from the photo and its faces.
        detector: a name in `DETECTORS`.
        device: where the detector runs.
        decoders: threads of each process that decode photos ahead; 0: the process itself decodes.
        min_face_pixels: side of the smallest face that the detector finds; None: its default.
    """

    source: Path
    data_folder: Path
    class_names: Sequence[str]
    extra_features: Mapping[str, Any] = field(default_factory=dict)
    sources: Sequence[ColumnSource] = ()
    detector: str = DEFAULT_DETECTOR
    device: str = "cpu"
    decoders: int = 0
    min_face_pixels: int | None = None

    @property
    def added(self) -> dict[str, Any]:
        """Option -> the settings of the source that fills columns which can be added later; None without one."""
        return source_settings(self.sources, later=True)


def plan_shards(records: Sequence[Record], limit: int | None = None) -> list[Shard]:
    """The shards of all splits.

    Photos are put in the order of a hash of their image_id: the same everywhere, and mixed, so that every shard and
    every `limit` (photos per split) holds all classes.
    """
    shards = []
    by_split: dict[str, list[Record]] = {split: [] for split in schema.SPLITS}
    for record in records:
        by_split.setdefault(record.split, []).append(record)
    for split, members in by_split.items():
        members.sort(key=lambda record: hashlib.sha256(record.image_id.encode()).digest())
        members = members[:limit]
        count = -(-len(members) // SHARD_ROWS)
        for i in range(count):
            part = members[i * len(members) // count : (i + 1) * len(members) // count]
            shards.append(Shard(f"{split}-{i:05d}-of-{count:05d}.parquet", split, part))
    return shards


class ShardWriter:
    """Turns shards into files; one per process, so that the networks are loaded once."""

    def __init__(self, work: Work) -> None:
        self.work = work
        self.schema = schema.features(work.class_names, work.extra_features).arrow_schema
        self.detector = make_detector(work.detector, work.device, work.min_face_pixels)

    def write(self, shard: Shard, entry: Mapping[str, Any] | None, advance: Callable[[], object]) -> dict[str, Any]:
        """Write `shard` whole or not at all.

        Args:
            shard: the shard.
            entry: its manifest entry, if it is whole but lacks columns that are to be added.
            advance: called after each photo.

        Returns:
            its new manifest entry.

        Raises:
            UserError: the file to which columns are added was not written by prepare.
        """
        path = self.work.data_folder / shard.name
        temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
        try:
            with pq.ParquetWriter(temporary, self.schema, compression="snappy") as writer:
                if entry is None:
                    new = self._fill(writer, shard, advance)
                else:
                    try:
                        new = self._add(writer, shard, path, entry, advance)
                    except (BadPhoto, pa.ArrowException, KeyError, TypeError) as error:
                        raise UserError(
                            f"{path} is not as prepare wrote it ({one_line(error)}): delete it and run "
                            "the same command again"
                        ) from error
            new = {**new, **self.work.added, "bytes": temporary.stat().st_size, "sha256": _sha256(temporary)}
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
        return new

    def _fill(self, writer: pq.ParquetWriter, shard: Shard, advance: Callable[[], object]) -> dict[str, Any]:
        """Write the rows of `shard`; returns what the manifest and the card need to know of them."""
        labels: dict[str, int] = {}
        faces: dict[str, int] = {}
        entry: dict[str, Any] = {
            "split": shard.split,
            "rows": 0,
            "labels": labels,
            "faces": faces,
            "quarantined": [],
            "hashes": {},
        }
        photos = self._photos(shard, entry["quarantined"], advance)
        for group in in_groups(photos, GROUP_ROWS, GROUP_PIXELS, _pixels):
            rows = self._rows(group, entry["quarantined"])
            for row in rows:
                for counts, key in ((labels, str(row["label"])), (faces, str(len(row["face_boxes"])))):
                    counts[key] = counts.get(key, 0) + 1
            kept = {row["image_id"] for row in rows}
            for record, photo in group:
                if record.image_id in kept:
                    entry["hashes"][record.image_id] = perceptual_hash(photo.image)
            entry["rows"] += len(rows)
            for part in in_groups(rows, GROUP_ROWS, GROUP_BYTES, image_bytes):
                writer.write_table(pa.Table.from_pylist(part, schema=self.schema))
            for _ in group:
                advance()
        return entry

    def _photos(
        self, shard: Shard, quarantined: list[dict[str, str]], advance: Callable[[], object]
    ) -> Iterator[tuple[Record, Photo]]:
        """The photos of `shard` that can be read; the others go to `quarantined`."""
        for record, photo in decoded_ahead(shard.records, self.work.decoders):
            try:
                yield record, photo()
            except BadPhoto as reason:
                if not record.path.exists():
                    raise UserError(
                        f"{self._file(record)} was there when the run began and is gone: bring the folder back and "
                        "run the same command again"
                    ) from reason
                self._quarantine(record, reason, quarantined)
                advance()

    def _rows(self, group: Sequence[tuple[Record, Photo]], quarantined: list[dict[str, str]]) -> list[dict[str, Any]]:
        """The rows of a group of photos; those that a source refuses go to `quarantined`."""
        sourced: list[tuple[Record, Photo, dict[str, Any]]] = []
        for record, photo in group:
            try:
                sourced.append((record, photo, self._sourced(record, photo.image)))
            except BadPhoto as reason:
                self._quarantine(record, reason, quarantined)
        found = iter(
            self._faces([(rec, photo.image) for rec, photo, columns in sourced if "face_boxes" not in columns])
        )
        rows = []
        for record, photo, columns in sourced:
            stored = {"bytes": photo.encoded, "path": None}
            as_it_is: dict[str, Any] = {"image": stored}  # encoding it again would lose
            if "face_boxes" not in columns:
                columns = {**photo_columns(photo.image, next(found)), **columns}
                if columns["face_boxes"]:
                    columns["sampled_patches"] = []  # a source may have patches of a photo that has faces here
                if record.faces != "all" and columns["face_boxes"] == [[0, 0, *photo.image.size]]:
                    as_it_is["face_crops"] = [stored]
            of_record = {"image_id": record.image_id, "label": record.label, "group": record.group}
            empty = dict.fromkeys(self.schema.names)
            rows.append({**empty, **encoded({**columns, **as_it_is}), **of_record, **record.extras})
        images = [photo.image for _, photo, _ in sourced]
        for name, values in _batch_columns(self.work.sources, images, [row["face_boxes"] for row in rows]).items():
            for row, value in zip(rows, values, strict=True):
                row[name] = value
        return rows

    def _faces(self, photos: Sequence[tuple[Record, Image.Image]]) -> list[Faces]:
        """The faces of each photo, as its record says."""
        faces = [Faces.none()] * len(photos)
        searched = [i for i, (record, _) in enumerate(photos) if record.faces != "whole"]
        for i, found in zip(searched, self.detector.extract([photos[i][1] for i in searched]), strict=True):
            faces[i] = found.largest() if photos[i][0].faces == "largest" else found
        whole = [i for i, (record, _) in enumerate(photos) if record.faces != "all" and not len(faces[i])]
        pictures = [photos[i][1] for i in whole]
        for i, face in zip(whole, whole_pictures(self.detector, pictures, self.work.device), strict=True):
            faces[i] = face
        return faces

    def _sourced(self, record: Record, image: Image.Image) -> dict[str, Any]:
        columns: dict[str, Any] = {}
        for source in self.work.sources:
            if isinstance(source, PhotoSource):
                columns |= source.columns(record, image)
        return columns

    def _add(
        self,
        writer: pq.ParquetWriter,
        shard: Shard,
        path: Path,
        entry: Mapping[str, Any],
        advance: Callable[[], object],
    ) -> dict[str, Any]:
        """Copy the shard's file row group by row group with the columns that are new; the rest stays as it is."""
        records = {record.image_id: record for record in shard.records}
        new = [source for source in self.work.sources if entry.get(kind_of(source).option) is None]
        new = [source for source in new if kind_of(source).later]
        with pq.ParquetFile(path) as file:
            for number in range(file.num_row_groups):
                table = file.read_row_group(number)
                ids = table["image_id"].to_pylist()
                images = [decode_photo(image["bytes"]).image for image in table["image"].to_pylist()]
                columns = _batch_columns(new, images, table["face_boxes"].to_pylist())
                for source in new:
                    if isinstance(source, PhotoSource):
                        columns |= _photo_columns(source, [records[i] for i in ids], images, shard.name)
                for name in schema.LATER_COLUMNS:
                    if name not in table.column_names:
                        columns.setdefault(name, [records[i].extras.get(name) for i in ids])
                arrays = [
                    pa.array(columns[field.name], field.type)
                    if field.name in columns
                    else table[field.name].cast(field.type)
                    for field in self.schema
                ]
                writer.write_table(pa.table(arrays, schema=self.schema))
                for _ in images:
                    advance()
        return dict(entry)

    def _quarantine(self, record: Record, reason: BadPhoto, quarantined: list[dict[str, str]]) -> None:
        quarantined.append({"image_id": record.image_id, "file": self._file(record), "reason": str(reason)})

    def _file(self, record: Record) -> str:
        return printable(os.path.relpath(record.path, self.work.source))


def decoded_ahead(records: Sequence[Record], threads: int) -> Iterator[tuple[Record, Callable[[], Photo]]]:
    """Each record, in order, with the call that gives its photo; so many threads decode the next photos meanwhile."""
    if not threads:
        yield from ((record, record.photo) for record in records)
        return
    waiting: deque[tuple[Record, Callable[[], Photo]]] = deque()
    with warnings.catch_warnings(), ThreadPoolExecutor(threads) as pool:
        warnings.simplefilter("ignore")  # as each decoding does: of several threads they restore each other's filters
        try:
            for record in records:
                waiting.append((record, pool.submit(record.photo).result))
                if len(waiting) > threads:
                    yield waiting.popleft()
            yield from waiting
        finally:
            pool.shutdown(cancel_futures=True)


def _batch_columns(
    sources: Sequence[ColumnSource], images: Sequence[Image.Image], face_boxes: Sequence[Sequence[Any]]
) -> dict[str, Sequence[Any]]:
    """The columns that the batch sources among `sources` fill, for some photos together."""
    columns: dict[str, Sequence[Any]] = {}
    for source in sources if images else ():
        if isinstance(source, BatchSource):
            columns |= source.batch_columns(images, face_boxes)
    return columns


def _photo_columns(
    source: PhotoSource, records: Sequence[Record], images: Sequence[Image.Image], shard: str
) -> dict[str, Sequence[Any]]:
    """The columns that `source` adds to the photos of a shard that is whole."""
    try:
        rows = [encoded(source.columns(record, image)) for record, image in zip(records, images, strict=True)]
    except BadPhoto as error:
        raise UserError(
            f"{source.name} cannot be added to {shard}: {error}; correct the file or prepare into a new folder"
        ) from error
    return {name: [row.get(name) for row in rows] for name in kind_of(source).columns}


def image_bytes(row: Mapping[str, Any]) -> int:
    """The size of all images of a row, encoded."""
    values = (value if isinstance(value, list) else [value] for value in row.values())
    return sum(len(image["bytes"] or b"") for value in values for image in value if _is_image(image))


def _is_image(value: Any) -> bool:
    return isinstance(value, dict) and "bytes" in value


def _pixels(pair: tuple[Record, Photo]) -> int:
    return pair[1].image.width * pair[1].image.height


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(2**20):
            digest.update(block)
    return digest.hexdigest()
