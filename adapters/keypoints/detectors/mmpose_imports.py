"""Imports MMPose 1.3.2, which is older than the packages it is installed with, and repairs the imports that fail.

MMPose's import needs parts of three packages that fail in today's environments, although inference uses none of them.
Each repair is made only when the real import fails, before MMPose is imported, and is reported by name:

    mmcv._ext       mmcv-lite has no compiled operators; one head imports them all the same. The stand-in raises
                    NotImplementedError, naming the operator, when one is used.
    torchvision     built for another torch, its own operators are not there and its import stops at registering nms and
                    qnms. Their signatures are declared first; calling them still fails.
    xtcocotools     its wheel is built for NumPy 1. pycocotools, from which it was made, stands in: enough for
                    inference, while evaluation with MMPose's own metrics needs the real one.

Warnings at import (old regular expressions, pkg_resources) are the packages' own affair and are not shown.
"""

import importlib
import importlib.machinery
import sys
import types
import warnings
from contextlib import redirect_stdout
from io import StringIO
from typing import Any

from adapters.keypoints.detectors.protocol import DetectorError

INSTALL = "pip install '.[mmpose]' in a checkout of samebody"
# Imports are repaired once per process.
_repaired: list[str] = []


def import_mmpose() -> list[str]:
    """Import ``mmpose`` and ``mmpose.apis``, repaired as far as needed.

    Returns:
        The packages that were repaired, now or before.

    Raises:
        DetectorError: MMPose or what it needs is missing or broken; the message names it and the remedy.
    """
    with warnings.catch_warnings(), redirect_stdout(StringIO()):
        warnings.simplefilter("ignore")
        try:
            importlib.import_module("torch")
            _repaired.extend(name for name, repair in REPAIRS.items() if repair())
            importlib.import_module("mmpose.apis")
        except ModuleNotFoundError as error:
            if error.name == "pkg_resources":
                raise DetectorError(
                    "MMPose needs pkg_resources, which setuptools 81 no longer has: pip install 'setuptools<81'"
                ) from error
            raise DetectorError(f"MMPose is not installed ({error}): {INSTALL}") from error
        except (
            Exception
        ) as error:  # version checks of mmdet and mmpose are assertions, compiled parts raise what they like
            raise DetectorError(f"MMPose cannot be imported ({type(error).__name__}: {error}): {INSTALL}") from error
    return list(_repaired)


def repair_mmcv_ops() -> bool:
    """Let ``import mmcv.ops`` pass where mmcv has no compiled operators; True if that was necessary."""
    if _imports("mmcv._ext"):
        return False
    importlib.import_module("mmcv")
    stand_in = _NoOperators("mmcv._ext")
    # torch's own inspection of modules wants a specification.
    stand_in.__spec__ = importlib.machinery.ModuleSpec("mmcv._ext", None)
    sys.modules["mmcv._ext"] = stand_in
    return True


class _NoOperators(types.ModuleType):
    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)

        def missing(*args: object, **kwargs: object) -> None:
            raise NotImplementedError(
                f"mmcv's operator {name} is compiled code, which mmcv-lite does not have; models that use it need mmcv "
                "itself: see docs/detectors.md"
            )

        return missing


def repair_torchvision() -> bool:
    """Let ``import torchvision`` pass where its compiled operators cannot be loaded; True if that was necessary."""
    if _imports("torchvision"):
        return False
    import torch

    # Otherwise the remains of the failed import would make the next one fail.
    for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
        del sys.modules[name]
    torch.library.define("torchvision::nms", "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    torch.library.define("torchvision::qnms", "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    importlib.import_module("torchvision")
    return True


def repair_xtcocotools() -> bool:
    """Let ``import xtcocotools`` mean pycocotools where its wheel is built for NumPy 1; True if that was necessary."""
    if _imports("xtcocotools.mask"):
        return False
    for name in [name for name in sys.modules if name.split(".")[0] == "xtcocotools"]:
        del sys.modules[name]
    sys.modules["xtcocotools"] = importlib.import_module("pycocotools")
    for part in ("coco", "cocoeval", "mask"):
        sys.modules[f"xtcocotools.{part}"] = importlib.import_module(f"pycocotools.{part}")
    return True


REPAIRS = {"torchvision": repair_torchvision, "mmcv._ext": repair_mmcv_ops, "xtcocotools": repair_xtcocotools}
"""Repairs in the order in which they are needed."""


def _imports(name: str) -> bool:
    try:
        importlib.import_module(name)
    except ModuleNotFoundError as error:
        # A package that is not there at all is the installation's business, not a repair's.
        if error.name is not None and "." not in error.name:
            raise
        return False
    except (ImportError, RuntimeError, ValueError, AttributeError):
        return False
    return True
