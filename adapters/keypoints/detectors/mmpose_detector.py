"""MMPose itself: any 2D model of MMPose 1.3.2, from a config and a checkpoint (extra ``mmpose``).

Top-down models (RTMPose, RTMW, HRNet, ViTPose ...) take one box after the other: the given boxes, or else the whole
picture as one person, which suits pictures of one person. Bottom-up models (RTMO) find everybody by themselves.
``mmpose_inferencer`` adds MMPose's person detectors. Keypoints and their names are those of the model's
``dataset_meta``; ``confidences`` converts its scores.

Crops are computed one by one on a CPU and in tiles of ``tile_size`` elsewhere; the last tile is padded. For every model
that was tried, the bits of a score depend on the size of the tile, so the size must not depend on the number of
pictures that come together. On a CPU two crops at once are computed by two threads with one core each.

Checkpoints are pickles. They are loaded as arrays and plain values only (checkpoints of OpenMMLab hold nothing else). A
checkpoint that holds anything else is refused unless the user trusts it; loading it then runs its code. Configs are
Python programs and are run: use only those that you trust.
"""

import hashlib
import os
import threading
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, redirect_stdout
from importlib import metadata
from io import StringIO
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from adapters.keypoints.detectors.confidences import LEAST_SCORE, confidences
from adapters.keypoints.detectors.mmpose_imports import import_mmpose
from adapters.keypoints.detectors.protocol import (
    Box,
    Detection,
    DetectorError,
    Pixels,
    file_digest,
    surrounding_box,
    whole_picture,
)
from adapters.keypoints.readers.file_schema import schema_from_meta_info
from engine.batching import worker_count
from engine.body.schemas import KeypointSchema

LEAST_BOX_SCORE = 0.3
"""MMPose's own threshold for people that a model has found."""
CUDA_CROPS = 64
_RANDOM_SEED = 0


class MMPoseDetector:
    """A model of MMPose; see the module."""

    def __init__(
        self,
        config: str,
        checkpoint: str | None = None,
        device: str = "cpu",
        trust_checkpoint: bool = False,
        tile_size: int | None = None,
        least_score: float = LEAST_SCORE,
    ) -> None:
        """Build the model and load its weights.

        Args:
            config: a config file, or the name of one that MMPose ships, without ``.py``.
            checkpoint: a file; None leaves the weights random, the same ones every time.
            trust_checkpoint: load a checkpoint that is more than arrays and plain values.
            tile_size: size of a tile; by default 1 on a CPU and ``CUDA_CROPS`` elsewhere.
            least_score: a keypoint with a lower score counts as not seen.

        Raises:
            DetectorError: MMPose is missing, there is no such config, or the checkpoint is refused or broken.
        """
        import_mmpose()
        from mmpose.apis import init_model
        from mmpose.models.pose_estimators import BottomupPoseEstimator

        path = config_file(config)
        with quietly(), seeded(), checkpoint_rules(checkpoint, trust_checkpoint):
            self._model: Any = init_model(str(path), checkpoint, device)
        self._bottom_up = isinstance(self._model, BottomupPoseEstimator)
        self._least_score = least_score
        self.schema: KeypointSchema = schema_from_meta_info(self._model.dataset_meta, str(path))
        on_cpu = device == "cpu"
        self._tile_size = tile_size or (1 if on_cpu else CUDA_CROPS)
        self._threads = worker_count() if on_cpu else 1
        self.batch_size = self._threads if self._tile_size == 1 else self._tile_size
        text = str(self._model.cfg.pretty_text)
        weights = "random" if checkpoint is None else file_digest(checkpoint)
        self.identity = (
            f"{library_versions()} config {hashlib.sha256(text.encode()).hexdigest()[:16]} weights {weights} {device} "
            f"crops {self._tile_size} score>={least_score:g}"
        )

    def detect(
        self, pictures: Sequence[Pixels], boxes: Sequence[Sequence[Box] | None] | None = None
    ) -> list[list[Detection]]:
        """See ``Detector.detect``. Bottom-up models find people themselves.

        Raises:
            DetectorError: boxes are given to a bottom-up model.
        """
        if self._bottom_up:
            if boxes is not None:
                raise DetectorError("this model finds people by itself; it takes no boxes")
            return self._in_threads(self._everybody, list(pictures))
        given = [None] * len(pictures) if boxes is None else boxes
        crops = [
            (number, picture, box)
            for number, (picture, some) in enumerate(zip(pictures, given, strict=True))
            for box in (whole_picture(picture) if some is None else some)
        ]
        size = self._tile_size
        tiles = [crops[start : start + size] for start in range(0, len(crops), size)]
        people: list[list[Detection]] = [[] for _ in pictures]
        found = (person for tile in self._in_threads(self._tile, tiles) for person in tile)
        for (number, _, _), person in zip(crops, found, strict=True):
            people[number] += [] if person is None else [person]
        return people

    def _tile(self, crops: Sequence[tuple[int, Pixels, Box]]) -> list[Detection | None]:
        from mmengine.dataset import Compose, pseudo_collate
        from mmpose.apis import inference_topdown

        if self._tile_size == 1:
            ((_, picture, box),) = crops
            samples = inference_topdown(self._model, picture, np.array([box], np.float32))
        else:
            import torch

            pipeline = Compose(self._model.cfg.test_dataloader.dataset.pipeline)
            whole = [*crops, *[crops[-1]] * (self._tile_size - len(crops))]
            crop_data = [
                pipeline(
                    {
                        "img": picture,
                        "bbox": np.array([box], np.float32),
                        "bbox_score": np.ones(1, np.float32),
                        **self._model.dataset_meta,
                    }
                )
                for _, picture, box in whole
            ]
            with torch.no_grad():
                samples = self._model.test_step(pseudo_collate(crop_data))[: len(crops)]
        return [
            person_of(sample.pred_instances, 0, picture, self._least_score, box)
            for sample, (_, picture, box) in zip(samples, crops, strict=True)
        ]

    def _everybody(self, picture: Pixels) -> list[Detection]:
        from mmpose.apis import inference_bottomup

        found = inference_bottomup(self._model, picture)[0].pred_instances
        scores = np.asarray(found.bbox_scores) if "bbox_scores" in found else np.ones(len(found.keypoints))
        people = [
            person_of(found, k, picture, self._least_score) for k in range(len(scores)) if scores[k] >= LEAST_BOX_SCORE
        ]
        return [person for person in people if person is not None]

    def _in_threads(self, function: Any, items: Sequence[Any]) -> list[Any]:
        with quietly():
            if self._threads == 1 or self._tile_size > 1:
                return [function(item) for item in items]
            # Fresh threads: the caller's own number of threads in torch stays as it is.
            with ThreadPoolExecutor(self._threads, initializer=_one_core) as pool:
                return list(pool.map(function, items))


def config_file(config: str) -> Path:
    """The file of a config that is given by path or by the name that MMPose ships it under.

    Raises:
        DetectorError: there is no such config.
    """
    import mmpose

    return shipped_config(config, mmpose, "MMPose")


def shipped_config(config: str, package: ModuleType, called: str) -> Path:
    """A config file that is given by path, or by the name under which one of OpenMMLab's packages ships it.

    Raises:
        DetectorError: there is no such config.
    """
    given = Path(config)
    if given.suffix == ".py" and given.is_file():
        return given
    name, folder = given.name.removesuffix(".py"), Path(str(package.__file__)).parent
    for place in (folder / ".mim", folder.parent):
        found = sorted((place / "configs").rglob(f"{name}.py"))
        if found:
            return found[0]
    raise DetectorError(f"no config {config}: neither a file nor one of {called}'s ({package.__name__}/.mim/configs)")


def person_of(found: Any, number: int, picture: Pixels, least_score: float, box: Box | None = None) -> Detection | None:
    """One of MMPose's instances; None if no keypoint counts as seen.

    Args:
        box: the box that was searched for the person; None takes MMPose's.
    """
    keypoints = np.asarray(found.keypoints[number], np.float32)
    confidence = confidences(
        np.asarray(found.keypoint_scores[number], np.float32), keypoints, picture.shape, least_score
    )
    if not confidence.any():
        return None
    score = 1.0 if box is not None or "bbox_scores" not in found else float(found.bbox_scores[number])
    return Detection(keypoints, confidence, box or surrounding_box(keypoints, confidence > 0), score)


@contextmanager
def checkpoint_rules(checkpoint: str | None, trusted: bool) -> Iterator[None]:
    """Loading within this block takes arrays and plain values only, unless the file is trusted.

    Raises:
        DetectorError: the checkpoint is refused or missing.
    """
    import torch

    if checkpoint is not None and not Path(checkpoint).is_file():
        raise DetectorError(f"{checkpoint}: no such checkpoint file")
    variable = "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD"
    before = os.environ.pop(variable, None)
    if trusted:
        os.environ[variable] = "1"
    try:
        with torch.serialization.safe_globals(_plain_values()):
            yield
    except Exception as error:
        if not trusted and ("weights_only" in str(error) or "Unsupported" in str(error)):
            raise DetectorError(
                f"{checkpoint}: it holds more than arrays and plain values, and loading it would run code; "
                "if you trust whoever made it, say so with --trust-weights"
            ) from error
        if isinstance(error, (RuntimeError, OSError, EOFError, KeyError)) and checkpoint is not None:
            raise DetectorError(f"{checkpoint}: not a checkpoint of this model ({error})") from error
        raise
    finally:
        os.environ.pop(variable, None)
        if before is not None:
            os.environ[variable] = before


def _plain_values() -> list[Any]:
    """Types that a checkpoint may hold besides tensors: NumPy's, of which MMPose keeps some in ``dataset_meta``."""
    from numpy._core.multiarray import _reconstruct, scalar  # pyright: ignore[reportAttributeAccessIssue]

    kinds = {type(np.dtype(code)) for code in "?bBhHiIlLqQefd"}
    return [_reconstruct, scalar, np.ndarray, np.dtype, *sorted(kinds, key=lambda kind: kind.__name__)]


def library_versions() -> str:
    """Names and versions of the libraries that compute keypoints."""
    import cv2

    parts = (f"{name} {metadata.version(name)}" for name in ("mmpose", "mmengine", "torch"))
    return f"{' '.join(parts)} opencv {cv2.__version__}"


@contextmanager
def seeded() -> Iterator[None]:
    """Random weights of models that are built in this block are the same every time."""
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(_RANDOM_SEED)
        yield


def _one_core() -> None:
    import torch

    torch.set_num_threads(1)


_quiet_lock = threading.RLock()


@contextmanager
def quietly() -> Iterator[None]:
    """Silence MMPose's prints and warnings, which do not concern users and would disturb a pipe."""
    with _quiet_lock, warnings.catch_warnings(), redirect_stdout(StringIO()):
        warnings.simplefilter("ignore")
        yield
