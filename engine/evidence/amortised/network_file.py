"""Networks on disk: one .npz without pickles, with integer weights and their provenance.

A network belongs to one body, which is identified by its fingerprint and number of shape components. The network of the
embedded body ships with samebody. Other networks are kept in the user's folder under the name that ``network_name``
gives.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from functools import cache
from importlib import resources
from pathlib import Path
from typing import IO, Any

import numpy as np

from engine.body.files import replace_file
from engine.body.model import BodyModel
from engine.evidence.amortised.exact import as_integers, from_integers
from engine.evidence.amortised.features import (
    EVEN_COUNT,
    NETWORK_SCHEMA,
    ODD_COUNT,
    OUTLINE_EVEN_COUNT,
    OUTLINE_ODD_COUNT,
)
from engine.evidence.amortised.network import Network

FORMAT = "samebody-evidence-network"
VERSION = 1
SHIPPED = "anny24.evidence.npz"
SUFFIX = ".evidence.npz"
_LARGEST_FILE = 64 << 20
_ARRAYS = ("first_even", "first_odd", "first_bias", "even", "odd", "bias", "last", "last_bias")


class NetworkFileError(ValueError):
    """A file is not a network that can be used here; the message says why and what to do."""


def network_name(body: BodyModel) -> str:
    """The file name under which a folder keeps the network of a body."""
    return f"{body.fingerprint}-{body.beta_count}{SUFFIX}"


def save_network(
    path: str | os.PathLike[str], network: Network, body: BodyModel, provenance: Mapping[str, Any]
) -> None:
    """Write a network file, whole or not at all.

    Args:
        provenance: steps, settings and figures, as JSON.

    Raises:
        ValueError: the weights are too large for exact arithmetic.
    """
    arrays = as_integers(network)
    header = {
        "format": FORMAT,
        "version": VERSION,
        "body_fingerprint": body.fingerprint,
        "body_name": body.name,
        "beta_count": body.beta_count,
        "keypoints": list(NETWORK_SCHEMA.keypoint_names),
        "digest": _digest(arrays),
        "provenance": dict(provenance),
    }

    def write(stream: IO[bytes]) -> None:
        np.savez_compressed(stream, header=np.array(json.dumps(header)), **arrays)  # pyright: ignore[reportArgumentType]

    replace_file(path, write)


def _digest(arrays: Mapping[str, np.ndarray]) -> str:
    digest = hashlib.sha256()
    for name in _ARRAYS:
        digest.update(np.ascontiguousarray(arrays[name], "<i4").tobytes())
    return digest.hexdigest()[:32]


def load_network(path: str | os.PathLike[str], body: BodyModel) -> Network:
    """Read the network of a body.

    Raises:
        NetworkFileError: missing, damaged, of another format or version, or of another body.
    """
    path = Path(path)
    try:
        if path.stat().st_size > _LARGEST_FILE:
            raise NetworkFileError(f"{path.name}: larger than any network of samebody")
        with open(path, "rb") as stream:
            return _checked(*_read(stream, path.name), path.name, body)
    except FileNotFoundError:
        raise NetworkFileError(f"no network file {path}; make one with: samebody train-evidence") from None


def _read(stream: IO[bytes], origin: str) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    try:
        with np.load(stream, allow_pickle=False) as stored:
            header: Any = json.loads(str(stored["header"]))
            arrays = {name: stored[name] for name in _ARRAYS}
    except Exception as error:  # zip, deflate and numpy raise different exceptions for damaged bytes
        raise NetworkFileError(f"{origin}: not a network of samebody, or damaged ({error})") from error
    if not isinstance(header, dict) or header.get("format") != FORMAT:
        raise NetworkFileError(f"{origin}: an .npz, but not a network; make one with: samebody train-evidence")
    if header.get("version") != VERSION or header.get("keypoints") != list(NETWORK_SCHEMA.keypoint_names):
        raise NetworkFileError(f"{origin}: made by another version of samebody; train it again")
    return header, arrays


def _checked(header: Mapping[str, Any], arrays: Mapping[str, np.ndarray], origin: str, body: BodyModel) -> Network:
    if header.get("body_fingerprint") != body.fingerprint:
        raise NetworkFileError(
            f"{origin} belongs to body {header.get('body_name')} ({header.get('body_fingerprint')}), not to "
            f"{body.name} ({body.fingerprint}); train one: samebody train-evidence"
        )
    layers, pairs = arrays["even"].shape[:2] if arrays["even"].ndim == 3 else (0, 0)
    with_outlines = arrays["first_even"].shape[:1] != (EVEN_COUNT,)
    even_count = EVEN_COUNT + with_outlines * OUTLINE_EVEN_COUNT
    odd_count = ODD_COUNT + with_outlines * OUTLINE_ODD_COUNT
    outputs = body.beta_count * (body.beta_count + 3) // 2
    expected = {
        "first_even": (even_count, pairs), "first_odd": (odd_count, pairs), "first_bias": (pairs,),
        "even": (layers, pairs, pairs), "odd": (layers, pairs, pairs), "bias": (layers, pairs),
        "last": (pairs, outputs), "last_bias": (outputs,),
    }  # fmt: skip
    if any(arrays[name].shape != shape or arrays[name].dtype != np.int32 for name, shape in expected.items()):
        raise NetworkFileError(f"{origin}: its arrays do not fit together or not to a body of {body.beta_count} betas")
    if _digest(arrays) != header.get("digest"):
        raise NetworkFileError(f"{origin}: damaged, its weights have changed since they were written")
    return from_integers(arrays)


def find_network(body: BodyModel, folder: str | os.PathLike[str] | None = None) -> Network | None:
    """The network of a body from a folder, or the shipped one of the embedded body; None if the body has none.

    Raises:
        NetworkFileError: a network is there but cannot be used.
    """
    if folder is not None and (Path(folder) / network_name(body)).exists():
        return load_network(Path(folder) / network_name(body), body)
    shipped = _shipped()
    if shipped is None:
        return None
    header, arrays = shipped
    if header["body_fingerprint"] != body.fingerprint or header["beta_count"] != body.beta_count:
        return None
    return _checked(header, arrays, SHIPPED, body)


@cache
def _shipped() -> tuple[dict[str, Any], dict[str, np.ndarray]] | None:
    place = resources.files("engine.evidence.data").joinpath(SHIPPED)
    if not place.is_file():  # a checkout whose maker has not run yet
        return None
    with place.open("rb") as stream:
        return _read(stream, SHIPPED)
