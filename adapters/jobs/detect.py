"""Photographs in, keypoint tables out: threads hash and decode while the detector works; results are cached.

Rows come in the order of the files. A picture in which nobody is found is a row with status NO_DETECTION, a file that
cannot be decoded one with BAD_INPUT and the reason. Memory holds the pictures of one batch and of files that threads
have read ahead. Stills are read ahead; frames of a video are read one by one.
"""

import hashlib
import os
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from adapters.keypoints.detectors.detection_cache import DetectionCache, FoundPicture
from adapters.keypoints.detectors.pictures import (
    BadPicture,
    Picture,
    PictureFile,
    decode_frames,
    decode_still,
    decoder_identity,
)
from adapters.keypoints.detectors.protocol import Box, Detection, Detector
from adapters.keypoints.readers.json_rows import Row, bad_input, no_detection, table_of_rows
from adapters.keypoints.table import KeypointTable, concat_tables
from adapters.keypoints.writers import write_keypoints
from engine.batching import worker_count
from engine.body.schemas import KeypointSchema
from engine.scores import LABELS

_BATCH_BYTES = 512 << 20
"""Bytes of decoded pictures in a batch; a batch of large pictures ends early."""
_CHUNK_SIZE = 4096
_READ_BYTES = 1 << 20


@dataclass(frozen=True)
class DetectSummary:
    """Result of a run."""

    pictures: int
    people: int
    from_cache: int
    """Number of pictures whose people were known."""
    by_status: dict[str, int]

    @property
    def all_found(self) -> bool:
        """True if somebody was found in every picture."""
        return self.by_status.get("ok", 0) == sum(self.by_status.values())


@dataclass
class _File:
    """One file in progress: pictures that wait for the detector, then their people."""

    source: PictureFile
    key: str = ""
    pictures: Iterator[Picture] = field(default_factory=lambda: iter(()))
    found: list[FoundPicture] = field(default_factory=list)
    error: str | None = None
    cached: bool = False


@dataclass(frozen=True)
class PhotoDetection:
    """Detection of keypoints in photographs."""

    detector: Detector
    cache: DetectionCache | None = None
    every: int = 1
    """Step between frames of videos that are looked at."""
    boxes: Mapping[str, Sequence[Box]] | None = None
    """Boxes of people by the picture's name; the detector finds people in other pictures."""

    def key_of(self, file: PictureFile, digest: bytes) -> str:
        """Key of a file's result in the cache: a digest of everything that it depends on."""
        facts = [self.detector.identity, decoder_identity()]
        if file.is_video:
            facts.append(f"every {self.every}")
        given = {} if self.boxes is None else {k: v for k, v in self.boxes.items() if k.split("#")[0] == file.name}
        # Names of frames begin with the file's name, which must not change the key.
        facts += [f"{name[len(file.name) :]} {list(boxes)}" for name, boxes in sorted(given.items())]
        return DetectionCache.key(digest, *facts)

    def tables(
        self, files: Sequence[PictureFile], on_progress: Callable[[int, int], None] = lambda done, all_files: None
    ) -> Iterator[tuple[KeypointTable, int, int]]:
        """Rows of all files in order, with the numbers of pictures and of pictures whose people were known.

        Args:
            on_progress: called with the number of finished files, and of all files.
        """
        rows: list[Row] = []
        pictures = cached = 0
        for done, file in enumerate(self._complete(files), start=1):
            rows += _rows(file)
            pictures += max(len(file.found), 1)
            cached += len(file.found) if file.cached else 0
            on_progress(done, len(files))
            if len(rows) >= _CHUNK_SIZE or done == len(files):
                yield table_of_rows(rows, self.detector.schema), pictures, cached
                rows, pictures, cached = [], 0, 0

    def _complete(self, files: Sequence[PictureFile]) -> Iterator[_File]:
        """Files in order, each as soon as all of its pictures are done."""
        waiting: deque[tuple[_File, int]] = deque()
        batch: list[tuple[_File, Picture]] = []
        size = 0

        def look() -> None:
            nonlocal batch, size
            if not batch:
                return
            people = self._people([picture for _, picture in batch])
            for (file, picture), found in zip(batch, people, strict=True):
                file.found.append((picture.name[len(file.source.name) :], found))
            batch, size = [], 0

        for file in self._opened(files):
            count = 0
            try:
                for picture in file.pictures:
                    batch.append((file, picture))
                    size += picture.pixels.nbytes
                    count += 1
                    if len(batch) >= self.detector.batch_size or size >= _BATCH_BYTES:
                        look()
            except BadPicture as error:
                file.error = str(error)
            if file.cached or file.error:
                count = len(file.found)
            waiting.append((file, count))
            while waiting and len(waiting[0][0].found) >= waiting[0][1]:
                yield self._kept(waiting.popleft()[0])
        look()
        for file, _ in waiting:
            yield self._kept(file)

    def _people(self, pictures: Sequence[Picture]) -> list[list[Detection]]:
        boxes = None
        if self.boxes is not None:
            given = [self.boxes.get(picture.name) for picture in pictures]
            boxes = [None if b is None else _moved(b, p) for b, p in zip(given, pictures, strict=True)]
        found = self.detector.detect([picture.pixels for picture in pictures], boxes)
        return [[_in_file(person, p) for person in people] for people, p in zip(found, pictures, strict=True)]

    def _kept(self, file: _File) -> _File:
        if self.cache is not None and not file.cached and file.error is None:
            self.cache.write(file.key, file.found)
        return file

    def _opened(self, files: Sequence[PictureFile]) -> Iterator[_File]:
        """Files in order, read ahead by threads."""
        workers = worker_count()
        with ThreadPoolExecutor(workers, thread_name_prefix="decode") as pool:
            ahead: deque[Future[_File]] = deque()
            try:
                for file in files:
                    ahead.append(pool.submit(self._open, file))
                    if len(ahead) > workers:
                        yield ahead.popleft().result()
                while ahead:
                    yield ahead.popleft().result()
            finally:
                pool.shutdown(wait=True, cancel_futures=True)

    def _open(self, source: PictureFile) -> _File:
        file = _File(source)
        try:
            if source.is_video:
                digest, content = _digest(source.path), b""
            else:
                content = Path(source.path).read_bytes()
                digest = hashlib.sha256(content).digest()
            file.key = self.key_of(source, digest)
            known = None if self.cache is None else self.cache.read(file.key)
            if known is not None:
                file.found, file.cached = known, True
            elif source.is_video:
                file.pictures = decode_frames(source, self.every)
            else:
                file.pictures = iter([decode_still(content, source.name)])
        except (BadPicture, OSError) as error:
            file.error = str(error)
        return file


def detect_to_table(
    files: Sequence[PictureFile],
    detection: PhotoDetection,
    on_progress: Callable[[int, int], None] = lambda done, all_files: None,
) -> tuple[KeypointTable, DetectSummary]:
    """Find everybody in all files."""
    tables, pictures, cached = [], 0, 0
    for table, count, known in detection.tables(files, on_progress):
        tables.append(table)
        pictures, cached = pictures + count, cached + known
    whole = concat_tables(detection.detector.schema, tables)
    statuses = np.bincount(whole.status, minlength=len(LABELS))
    by_status = {LABELS[code]: int(count) for code, count in enumerate(statuses) if count}
    return whole, DetectSummary(pictures, by_status.get("ok", 0), cached, by_status)


def detect_to_file(
    files: Sequence[PictureFile],
    detection: PhotoDetection,
    out: str | os.PathLike[str],
    on_progress: Callable[[int, int], None] = lambda done, all_files: None,
) -> DetectSummary:
    """Find everybody in all files and write the keypoints (``keypoint_writers``)."""
    table, summary = detect_to_table(files, detection, on_progress)
    write_keypoints(out, table)
    return summary


@dataclass(frozen=True)
class _Measured:
    """An outline that a detector has measured."""

    outline_px: np.ndarray

    def measure(self, points: np.ndarray, seen: np.ndarray, schema: KeypointSchema) -> np.ndarray:
        """The outline, whatever the keypoints."""
        return self.outline_px


def _rows(file: _File) -> Iterator[Row]:
    name = file.source.name
    for suffix, people in file.found:
        if not people:
            yield no_detection(name + suffix)
        for number, person in enumerate(people):
            points, place = person.keypoints.ravel().tolist(), f"{file.source.path}: person {number}"
            outline = None if person.outline_px is None else _Measured(person.outline_px)
            scores = person.confidence.tolist()
            yield Row(name + suffix, number, points, scores, place=place, box=person.box, outline=outline)
    if file.error is not None:
        yield bad_input(name, -1, f"{file.source.path}: {file.error}")


def _in_file(person: Detection, picture: Picture) -> Detection:
    if picture.shrunk_by == (1.0, 1.0):
        return person
    corners = picture.to_original(np.array(person.box, np.float64).reshape(2, 2)).ravel()
    box = (float(corners[0]), float(corners[1]), float(corners[2]), float(corners[3]))
    outline_px = person.outline_px
    if outline_px is not None:
        # Both axes are shrunk by the same number but for one row of pixels.
        outline_px = outline_px * np.float32(np.sqrt(np.prod(picture.shrunk_by)))
    return Detection(picture.to_original(person.keypoints), person.confidence, box, person.box_score, outline_px)


def _moved(boxes: Sequence[Box], picture: Picture) -> list[Box]:
    corners = [picture.from_original(np.array(box, np.float64).reshape(2, 2)).ravel() for box in boxes]
    return [(float(x1), float(y1), float(x2), float(y2)) for x1, y1, x2, y2 in corners]


def _digest(path: str) -> bytes:
    digest = hashlib.sha256()
    with open(path, "rb") as stream:
        while block := stream.read(_READ_BYTES):
            digest.update(block)
    return digest.digest()
