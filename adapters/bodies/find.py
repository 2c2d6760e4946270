"""Finds the body that the user names: the one that comes with samebody, or a file."""

from pathlib import Path

from engine.body.body_file import load_body
from engine.body.embedded import EMBEDDED_BODY, load_embedded_body
from engine.body.model import BodyModel


def find_body(spec: str) -> BodyModel:
    """``anny24`` with ten shape components, or a body file of ``samebody export-body`` with all of its components.

    Raises:
        ValueError: no such body, or the file is not one.
    """
    if spec == EMBEDDED_BODY:
        return load_embedded_body()
    path = Path(spec)
    if path.suffix.lower() == ".pkl":
        raise ValueError(
            f"{path.name} is a model file of SMPL; turn it into a body first: "
            f"samebody export-body smplx --model-path {path} --gender neutral --out body.npz"
        )
    if not path.exists():
        raise ValueError(f"no body called {spec}: give {EMBEDDED_BODY} or the path of a body file (.npz)")
    return load_body(path)
