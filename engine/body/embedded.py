"""The body that comes with samebody: Anny-24 in SMPL's layout. It is not SMPL, and its betas are not SMPL's."""

from functools import lru_cache
from importlib import resources

from engine.body.body_file import load_body
from engine.body.model import BodyModel

EMBEDDED_BODY = "anny24"
DEFAULT_BETA_COUNT = 10
"""Ten, like SMPL. The file holds 16 components; ``load_embedded_body(16)`` uses all of them."""


@lru_cache
def load_embedded_body(beta_count: int = DEFAULT_BETA_COUNT) -> BodyModel:
    """Anny-24 with its first ``beta_count`` shape components."""
    with resources.as_file(resources.files("engine.body.data") / f"{EMBEDDED_BODY}.npz") as path:
        return load_body(path).with_betas(beta_count)
