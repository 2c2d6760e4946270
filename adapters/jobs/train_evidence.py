"""Training the evidence network of a body: simulated pictures in, one small file out; a run can be resumed.

The state of a run is kept beside the result in ``<out>.training.npz`` and removed at the end. A run with the same body,
poses and settings continues where the last one stopped, and gives the same weights as an uninterrupted run.
"""

import hashlib
import json
import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

import jax
import jax.numpy as jnp
import numpy as np
from scipy.spatial.transform import Rotation

from engine import VERSION
from engine.body.files import replace_file
from engine.body.keypoint_body import reduce_body
from engine.body.model import BodyModel
from engine.body.pose_prior import load_pose_prior
from engine.evidence.amortised.features import NETWORK_SCHEMA
from engine.evidence.amortised.network_file import save_network
from engine.evidence.amortised.training import (
    TrainingSettings,
    TrainingState,
    begin_stage,
    make_training,
    start_training,
    train,
)
from engine.simulation.pictures import Simulator, make_simulator
from engine.simulation.poses import PosePool, make_pool, pool_from_prior
from engine.simulation.settings import SimulationSettings
from engine.simulation.surface import make_surface

_STEPS_PER_SAVE = 500
_STEPS_PER_REPORT = 20
_TRUSTED_QUALITY = ("exact", "calibrated", "proxy", "artist")


@dataclass(frozen=True)
class TrainingProgress:
    """Progress of a run."""

    step: int
    steps: int
    loss: float
    """Running mean, nats."""
    remaining_s: float


@dataclass(frozen=True)
class TrainingResult:
    """Result of a run."""

    path: Path
    steps: int
    loss: float
    seconds: float
    """Duration of this run; a resumed one took longer in total."""


def pose_pool(path: str | os.PathLike[str] | None, left_out: tuple[str, ...] = ()) -> PosePool:
    """The poses of simulated people.

    Args:
        path: an .npz with ``body_pose`` (poses, 23, 3) and ``root_orient`` (poses, 3), rotation vectors in radians of
            SMPL's joints, and perhaps ``weight``, ``subject``, ``quality`` and ``joint_valid``; by default poses are
            drawn from the shipped pose prior, which covers fewer.
        left_out: subjects that are reserved for testing.

    Raises:
        ValueError: the file is missing or not of that form.
    """
    if path is None:
        return pool_from_prior(load_pose_prior())
    name = Path(path).name
    try:
        with open(path, "rb") as stream, np.load(stream, allow_pickle=False) as stored:
            arrays = {key: stored[key] for key in stored.files if key in _POSE_ARRAYS}
        poses, orient = arrays["body_pose"], arrays["root_orient"]
        if poses.ndim != 3 or poses.shape[1:] != (23, 3) or orient.shape != (len(poses), 3):
            raise ValueError(f"body_pose has shape {poses.shape} and root_orient {orient.shape}")
        kept = np.isfinite(poses).all(axis=(1, 2)) & np.isfinite(orient).all(axis=1)
        if "subject" in arrays:
            kept &= ~np.isin(arrays["subject"], list(left_out))
        if "quality" in arrays:
            kept &= np.isin(arrays["quality"], _TRUSTED_QUALITY)
        valid = arrays.get("joint_valid", np.ones(poses.shape[:2], bool))
        weight = np.asarray(arrays.get("weight", np.ones(len(poses))), np.float64)[kept]
    except FileNotFoundError:
        raise ValueError(f"no poses file {path}") from None
    except Exception as error:  # zip, deflate and numpy raise different exceptions for damaged bytes
        raise ValueError(f"{name}: not a file of poses ({error}); it needs body_pose and root_orient") from error
    # Half of the weight follows the frequency of poses; half is uniform, so that rare poses occur too.
    balanced = 0.5 * weight / max(weight.sum(), 1e-12) + 0.5 / max(len(weight), 1)
    rotation = Rotation.from_rotvec(orient[kept])
    # The heading is the turn about the vertical that leaves the smallest tilt (swing-twist decomposition).
    heading = rotation.as_quat() * [0, 1, 0, 1] + [0, 0, 0, 1e-12]
    tilt = (Rotation.from_quat(heading).inv() * rotation).as_rotvec()
    return make_pool(np.where(valid[kept][..., None], poses[kept], 0), tilt, balanced)


_POSE_ARRAYS = ("body_pose", "root_orient", "weight", "subject", "quality", "joint_valid")


def simulator_of(body: BodyModel, pool: PosePool, outlines: bool = True) -> Simulator:
    """Simulated people with this body, in these poses.

    Raises:
        ValueError: the body has no mesh for outlines.
    """
    return make_simulator(reduce_body(body, NETWORK_SCHEMA), pool, make_surface(body) if outlines else None)


def train_network(
    body: BodyModel,
    pool: PosePool,
    settings: TrainingSettings,
    out: str | os.PathLike[str],
    on_progress: Callable[[TrainingProgress], None] = lambda progress: None,
    simulation: SimulationSettings | None = None,
    outlines: bool = True,
) -> TrainingResult:
    """Train a network for a body, or continue an interrupted run, and write it.

    Args:
        outlines: simulate outlines as well, for a network that takes them.

    Raises:
        ValueError: the file cannot be written, or the body has no mesh for outlines.
    """
    simulation = simulation or SimulationSettings()
    out = Path(out)
    state_path = out.with_name(out.name + ".training.npz")
    simulator = simulator_of(body, pool, outlines)
    made_of = _fingerprint(body, pool, settings, simulation, outlines)
    state = _load_state(state_path, start_training(settings, body.beta_count, outlines), made_of)
    first = done = int(state.step)
    started = time.monotonic()
    while done < settings.steps:
        number, begins = settings.stage_at(done)
        if done == begins > 0:
            state = begin_stage(state)
        training = make_training(simulator, simulation, settings, number)
        end = min(done + _STEPS_PER_REPORT - done % _STEPS_PER_REPORT, begins + settings.stages[number].steps)
        state = train(training, state, jnp.asarray(end - done, jnp.int32))
        loss = float(state.loss)
        rate = (time.monotonic() - started) / (end - first)
        on_progress(TrainingProgress(end, settings.steps, loss, rate * (settings.steps - end)))
        done = end
        if done % _STEPS_PER_SAVE == 0 and done < settings.steps:
            _save_state(state_path, state, made_of)
    provenance: dict[str, Any] = {
        "samebody": VERSION,
        "training": asdict(settings),
        "simulation": asdict(simulation),
        "poses": len(pool.body_pose),
        "outlines": outlines,
        "loss": round(float(state.loss), 4),
    }
    save_network(out, jax.tree.map(np.asarray, state.mean.network), body, provenance)
    state_path.unlink(missing_ok=True)
    return TrainingResult(out, settings.steps, float(state.loss), time.monotonic() - started)


def _fingerprint(
    body: BodyModel, pool: PosePool, settings: TrainingSettings, simulation: SimulationSettings, outlines: bool
) -> str:
    digest = hashlib.sha256()
    for leaf in jax.tree.leaves(pool):
        digest.update(np.ascontiguousarray(leaf).tobytes())
    words = [VERSION, body.fingerprint, body.beta_count, asdict(settings), asdict(simulation), outlines]
    digest.update(json.dumps(words, sort_keys=True).encode())
    return digest.hexdigest()[:32]


def _save_state(path: Path, state: TrainingState, made_of: str) -> None:
    leaves = {f"leaf_{n}": np.asarray(leaf) for n, leaf in enumerate(jax.tree.leaves(state))}

    def write(stream: IO[bytes]) -> None:
        np.savez(stream, made_of=np.array(made_of), **leaves)  # pyright: ignore[reportArgumentType]

    replace_file(path, write)


def _load_state(path: Path, fresh: TrainingState, made_of: str) -> TrainingState:
    """The state of an interrupted run with this body, poses and settings, or the fresh state."""
    leaves, structure = jax.tree.flatten(fresh)
    try:
        with open(path, "rb") as stream, np.load(stream, allow_pickle=False) as stored:
            if str(stored["made_of"]) != made_of:
                return fresh
            found = [stored[f"leaf_{n}"] for n in range(len(leaves))]
    except FileNotFoundError:
        return fresh
    except Exception as error:  # zip and numpy raise different exceptions for damaged bytes
        raise ValueError(f"{path.name}: damaged ({error}); delete it to start again") from error
    if any(a.shape != np.shape(b) or a.dtype != np.asarray(b).dtype for a, b in zip(found, leaves, strict=True)):
        raise ValueError(f"{path.name}: of another version of samebody; delete it to start again")
    return jax.tree.unflatten(structure, [jnp.asarray(leaf) for leaf in found])
