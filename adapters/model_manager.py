"""Bodies for a host application, loaded once: the user's SMPL files by gender or, on request, the embedded body.

    manager = ModelManager("models/smpl")
    body = manager.load_smpl_model("neutral")

SMPL's files may not be redistributed, so a fresh installation lacks them. ``ModelManager(embedded_fallback=True)`` then
takes the body that comes with samebody, with one warning. It is another body: betas of one have no meaning for the
other, and every stored shape records its body.
"""

import os
import threading
import warnings
from pathlib import Path

from adapters.bodies.smpl_files import GENDERS, SmplFileError, find_smpl_file, load_smpl_file
from adapters.host.inputs import BETA_COUNT
from engine.body.embedded import load_embedded_body
from engine.body.model import BodyModel


class EmbeddedBodyWarning(UserWarning):
    """SMPL was requested, and the embedded body was used."""


class ModelManager:
    """Loads and keeps bodies. Threads may share it."""

    def __init__(self, model_path: str | os.PathLike[str] = "models/smpl", embedded_fallback: bool = False) -> None:
        """
        Args:
            model_path: folder of the user's SMPL files, or one file.
            embedded_fallback: use the embedded body, which has no gender, if a file is missing.
        """
        self._model_path = Path(model_path)
        self._embedded_fallback = embedded_fallback
        self._lock = threading.Lock()
        self._loaded: dict[str, BodyModel] = {}

    def load_smpl_model(self, gender: str = "neutral") -> BodyModel:
        """The body of a gender with ten shape components: the same object at every call.

        Raises:
            SmplFileError: the file is missing and there is no fallback, or it is damaged. The embedded body never
                replaces a damaged file.
        """
        with self._lock:
            if gender not in self._loaded:
                self._loaded[gender] = self._load(gender)
            return self._loaded[gender]

    def _load(self, gender: str) -> BodyModel:
        try:
            file = find_smpl_file(self._model_path, gender)
        except SmplFileError as error:
            if gender not in GENDERS:
                raise
            if not self._embedded_fallback:
                raise SmplFileError(
                    f"{str(error).split('. SMPL', 1)[0]} (or let samebody's own body stand in: "
                    "ModelManager(embedded_fallback=True))"
                ) from error
            body = load_embedded_body(BETA_COUNT)
            warnings.warn(
                f"no SMPL {gender} model in {self._model_path}; using {body.name} instead, whose betas are not SMPL's",
                EmbeddedBodyWarning,
                stacklevel=3,
            )
            return body
        return load_smpl_file(file, gender).with_betas(BETA_COUNT)
