"""Training an evidence network: reproducible, resumable, refused where the input is wrong, used where it lies."""

import json
from pathlib import Path

import numpy as np
import pytest

from adapters.jobs.train_evidence import TrainingProgress, pose_pool, train_network
from engine.body.body_file import BodyProvenance, load_body, save_body
from engine.body.embedded import load_embedded_body
from engine.body.model import BodyModel
from engine.evidence.amortised.network_file import NetworkFileError, find_network, load_network, network_name
from engine.evidence.amortised.training import SET_SIZE, Stage, TrainingSettings

TINY = TrainingSettings(
    stages=(
        Stage(8, (32, 1, 1), learning_rate=2e-3, averaging=0.998, warm_up=2),
        Stage(4, (2, 2, SET_SIZE), learning_rate=6e-4, averaging=0.997, warm_up=1),
    ),
    pairs=8,
    layers=1,
)


class Interrupted(Exception):
    pass


@pytest.fixture(scope="module")
def smpl_layout(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, BodyModel]:
    """A body file of a user's own: the embedded mesh with four of its shape components."""
    path = tmp_path_factory.mktemp("body") / "own.npz"
    save_body(path, load_embedded_body(4), BodyProvenance("Own body", "made by a test", "none"))
    return path, load_body(path)


@pytest.mark.slow
def test_training_is_reproducible_and_resumable(
    smpl_layout: tuple[Path, BodyModel], monkeypatch: pytest.MonkeyPatch
) -> None:
    path, body = smpl_layout
    monkeypatch.setattr("adapters.jobs.train_evidence._STEPS_PER_SAVE", 5)
    monkeypatch.setattr("adapters.jobs.train_evidence._STEPS_PER_REPORT", 1)
    pool = pose_pool(None)
    whole = path.with_name("whole.npz")
    seen: list[TrainingProgress] = []
    result = train_network(body, pool, TINY, whole, seen.append)
    assert [progress.step for progress in seen] == list(range(1, 13))
    assert np.isfinite(result.loss)

    def stop(progress: TrainingProgress) -> None:
        if progress.step == 7:
            raise Interrupted

    kept = path.with_name(network_name(body))
    with pytest.raises(Interrupted):
        train_network(body, pool, TINY, kept, stop)
    assert not kept.exists()
    resumed: list[TrainingProgress] = []
    train_network(body, pool, TINY, kept, resumed.append)
    assert resumed[0].step == 6
    assert not kept.with_name(kept.name + ".training.npz").exists()
    one, other = load_network(whole, body), load_network(kept, body)
    assert all(np.array_equal(getattr(one, name), value) for name, value in vars(other).items())
    assert one.sees_outlines
    # A network in the folder is found by its body, and belongs to no other.
    assert find_network(body, path.parent) is not None
    with pytest.raises(NetworkFileError, match="belongs to"):
        load_network(kept, load_embedded_body())
    damaged = bytearray(kept.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    kept.write_bytes(damaged)
    with pytest.raises(NetworkFileError):
        load_network(kept, body)


def test_poses_are_read_and_left_out(tmp_path: Path) -> None:
    poses = np.random.default_rng(0).normal(size=(6, 23, 3)).astype(np.float32) * 0.1
    file = tmp_path / "poses.npz"
    np.savez(
        file, body_pose=poses, root_orient=np.zeros((6, 3), np.float32), weight=np.arange(6.0),
        subject=np.array(["1", "1", "2", "2", "3", "3"]),
    )  # fmt: skip
    pool = pose_pool(file, left_out=("1",))
    assert np.array_equal(pool.body_pose, poses[2:])
    shares = np.diff(np.asarray(pool.cumulative), prepend=0)
    assert np.all(np.diff(shares) > 0)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", json.dumps({}).encode()])
def test_files_that_hold_no_poses_are_refused(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "poses.npz"
    file.write_bytes(content)
    with pytest.raises(ValueError, match=r"poses\.npz: not a file of poses"):
        pose_pool(file)
    with pytest.raises(ValueError, match="no poses file"):
        pose_pool(tmp_path / "missing.npz")
