"""Pose estimation and body analysis."""

import json
import os
from pathlib import Path

from adapters.body_analyzer import BodyAnalyzer
from adapters.jobs.compile_cache import enable_compile_cache
from adapters.model_manager import ModelManager

enable_compile_cache()
POSE_MODE = os.environ.get("POSE_MODE", "free")

manager = ModelManager("models/smpl", embedded_fallback=True)
smpl_model = manager.load_smpl_model("neutral")


def estimate_pose(image_path: str) -> list[dict]:
    """Stands for MMPose: here the predictions lie beside the picture."""
    return json.loads(Path(image_path).with_suffix(".json").read_text())


analyzer = BodyAnalyzer(smpl_model, detector=estimate_pose, mode=POSE_MODE)
