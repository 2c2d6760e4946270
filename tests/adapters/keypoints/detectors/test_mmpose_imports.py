"""What stops MMPose's import in today's environments, each failure beside its repair (extra mmpose)."""

import subprocess
import sys

import pytest

# Each in a process of its own: a failed import leaves traces, and a repaired one would hide the failure.
_FAILS = {
    "repair_mmcv_ops": ("mmcv.ops", "No module named 'mmcv._ext'"),
    "repair_xtcocotools": ("xtcocotools.coco", "numpy.dtype size changed"),
    "repair_torchvision": ("torchvision", "operator torchvision::nms does not exist"),
}
_SCRIPT = """
import importlib, sys, warnings
warnings.simplefilter("ignore")
try:
    importlib.import_module(sys.argv[1])
except Exception as error:
    print("failed:", error)
from adapters.keypoints.detectors import mmpose_imports
if sys.argv[2] != "repair_torchvision":
    mmpose_imports.repair_torchvision()
print("repaired:", getattr(mmpose_imports, sys.argv[2])())
importlib.import_module(sys.argv[1])
print("imported")
"""


def _run(script: str, *arguments: str) -> str:
    ran = subprocess.run([sys.executable, "-c", script, *arguments], capture_output=True, text=True, timeout=300)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


@pytest.mark.parametrize("repair", ["repair_mmcv_ops", "repair_xtcocotools"])
def test_the_failure_is_real_and_the_repair_mends_it(repair) -> None:
    module, message = _FAILS[repair]
    output = _run(_SCRIPT, module, repair)
    assert message in output.splitlines()[0]
    assert output.splitlines()[1:] == ["repaired: True", "imported"]


def test_torchvision_is_repaired_exactly_where_its_operators_are_missing() -> None:
    """Whether they are depends on which torch the package index has."""
    module, message = _FAILS["repair_torchvision"]
    *first, repaired, imported = _run(_SCRIPT, module, "repair_torchvision").splitlines()
    assert imported == "imported"
    assert repaired == f"repaired: {bool(first)}"
    assert all(message in line for line in first)


def test_missing_operators_say_so_when_they_are_used() -> None:
    script = """
from adapters.keypoints.detectors.mmpose_imports import import_mmpose
print(*import_mmpose())
from mmcv.ops import nms
import torch
try:
    nms(torch.zeros(1, 4), torch.zeros(1), 0.5)
except NotImplementedError as error:
    print(error)
"""
    repaired, message = _run(script).splitlines()
    assert "mmcv._ext" in repaired
    assert message.startswith("mmcv's operator nms is compiled code")


def test_what_works_is_left_alone() -> None:
    script = """
import sys, types
for name in ("mmcv", "mmcv._ext", "xtcocotools", "xtcocotools.mask", "torchvision"):
    sys.modules[name] = types.ModuleType(name)
before = dict(sys.modules)
from adapters.keypoints.detectors.mmpose_imports import REPAIRS
print(*(repair() for repair in REPAIRS.values()))
print(all(sys.modules[name] is before[name] for name in ("mmcv._ext", "xtcocotools.mask", "torchvision")))
"""
    assert _run(script).splitlines() == ["False False False", "True"]
