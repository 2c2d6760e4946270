"""Evidence networks of bodies: the shipped one, and those that the user has trained, kept in a folder of the user's."""

import os
from functools import lru_cache
from pathlib import Path

import platformdirs

from engine.body.model import BodyModel
from engine.evidence.amortised.evidence import AmortisedModel, make_amortised
from engine.evidence.amortised.network_file import find_network

FOLDER_VARIABLE = "SAMEBODY_NETWORKS"
"""Another folder."""


def network_folder() -> Path:
    """Folder in which ``samebody train-evidence`` keeps networks; every command searches it."""
    chosen = os.environ.get(FOLDER_VARIABLE)
    return Path(chosen) if chosen else Path(platformdirs.user_data_dir("samebody")) / "networks"


def amortised_model(body: BodyModel) -> AmortisedModel | None:
    """The body with its network, or None if it has none.

    Raises:
        ValueError: the network exists but cannot be used.
    """
    return _found(_Body(body), str(network_folder()))


class _Body:
    """A body as a key: two bodies with equal fingerprints and component counts are the same."""

    def __init__(self, body: BodyModel) -> None:
        self.body = body
        self._key = (body.fingerprint, body.beta_count, body.keypoint_names)

    def __hash__(self) -> int:
        return hash(self._key)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Body) and self._key == other._key


@lru_cache(maxsize=4)
def _found(body: _Body, folder: str) -> AmortisedModel | None:
    network = find_network(body.body, folder)
    return None if network is None else make_amortised(body.body, network)
