"""Bodies for a host application, loaded once: the user's SMPL files by gender, or, if told so, the embedded body.

    manager = ModelManager("models/smpl")
    body = manager.load_smpl_model("neutral")

SMPL's files may not be passed on, so a fresh installation has none; ``ModelManager(embedded_fallback=True)`` then takes
the body that comes with samebody and says so in a warning, once. It is another body: betas of one mean nothing to the
other, and whatever is stored records which body made it.
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
    """SMPL was asked for and the embedded body was given."""


class ModelManager:
    """Loads and keeps bodies; may be shared by threads."""

    def __init__(self, model_path: str | os.PathLike[str] = "models/smpl", embedded_fallback: bool = False) -> None:
        """
        Args:
            model_path: folder of the user's SMPL files, or one file.
            embedded_fallback: where a file is missing, take the embedded body, which knows no gender.
        """
        self._model_path = Path(model_path)
        self._embedded_fallback = embedded_fallback
        self._lock = threading.Lock()
        self._loaded: dict[str, BodyModel] = {}

    def load_smpl_model(self, gender: str = "neutral") -> BodyModel:
        """The body of a gender with ten shape components: the same object at every call.

        Raises:
            SmplFileError: no such file and no fallback, or the file is damaged. A damaged file is never replaced by
                the embedded body.
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
