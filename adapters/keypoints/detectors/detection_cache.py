"""A cache of detections by the photograph's content, so that a second run detects nothing again.

The key is a hash of the file's bytes, of the detector's identity and of everything else that may change the result; a
file that is renamed or moved is found again, one that is changed is not. An entry is a small file of MessagePack in the
user's cache folder (``detections`` in it), written beside its place and renamed, so that several processes may share
it. An entry that cannot be read counts as absent. If the folder cannot be written, detection is repeated.
"""

import hashlib
import os
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import msgspec
import numpy as np

from adapters.jobs.compile_cache import FOLDER_VARIABLE, cache_folder
from adapters.keypoints.detectors.protocol import Box, Detection
from engine.picture.outline_places import PLACES, SIDES

_FORMAT = "samebody-detections-2"


class _StoredPerson(msgspec.Struct, array_like=True):
    keypoints: bytes
    confidence: bytes
    box: Box
    box_score: float
    outline: bytes | None


class _StoredPicture(msgspec.Struct, array_like=True):
    suffix: str
    people: list[_StoredPerson]


FoundPicture = tuple[str, list[Detection]]
"""The suffix of the picture's name after the file's (``#000120`` for a frame, empty for a still), and its people."""

_decode = msgspec.msgpack.Decoder(list[_StoredPicture]).decode
_encode = msgspec.msgpack.Encoder().encode


class DetectionCache:
    """Results by key, in a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @staticmethod
    def key(content_digest: bytes, *made_with: str) -> str:
        """The key of a file's result.

        Args:
            content_digest: hash of the file's bytes.
            made_with: detector and options.
        """
        digest = hashlib.sha256(content_digest)
        for text in (_FORMAT, *made_with):
            digest.update(len(text.encode()).to_bytes(8, "little") + text.encode())
        return digest.hexdigest()

    def read(self, key: str) -> list[FoundPicture] | None:
        """The detections that were kept; None if there are none."""
        try:
            stored = _decode(self._path(key).read_bytes())
            return [(picture.suffix, [_detection(person) for person in picture.people]) for picture in stored]
        except (OSError, ValueError):
            return None

    def write(self, key: str, pictures: Sequence[FoundPicture]) -> None:
        """Keep a result."""
        content = _encode(
            [_StoredPicture(suffix, [_stored(person) for person in people]) for suffix, people in pictures]
        )
        path = self._path(key)
        with suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            descriptor, temporary = tempfile.mkstemp(dir=path.parent, suffix=".part")
            try:
                with os.fdopen(descriptor, "wb") as stream:
                    stream.write(content)
                os.replace(temporary, path)
            except BaseException:
                Path(temporary).unlink(missing_ok=True)
                raise

    def _path(self, key: str) -> Path:
        return self._folder / key[:2] / f"{key[2:]}.msgpack"


def default_cache() -> DetectionCache | None:
    """The default folder of results; None if the user wants no cache."""
    folder = cache_folder()
    if folder is None:
        return None
    return DetectionCache(folder / "detections" if os.environ.get(FOLDER_VARIABLE) else folder.parent / "detections")


def _stored(person: Detection) -> _StoredPerson:
    keypoints, confidence = (np.ascontiguousarray(values, "<f4") for values in (person.keypoints, person.confidence))
    outline = None if person.outline_px is None else np.ascontiguousarray(person.outline_px, "<f4").tobytes()
    return _StoredPerson(keypoints.tobytes(), confidence.tobytes(), person.box, person.box_score, outline)


def _detection(person: _StoredPerson) -> Detection:
    confidence = np.frombuffer(person.confidence, "<f4")
    keypoints = np.frombuffer(person.keypoints, "<f4").reshape(len(confidence), 2)
    outline = None
    if person.outline is not None:
        outline = np.frombuffer(person.outline, "<f4").reshape(len(PLACES), SIDES)
    return Detection(keypoints, confidence, person.box, person.box_score, outline)
