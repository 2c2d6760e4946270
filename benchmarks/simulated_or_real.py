"""Can a classifier tell simulated keypoints from a real detector's? ``python -m benchmarks.simulated_or_real FOLDER``.

FOLDER holds keypoints of real people (``market_train.npz``, ``deepfashion_dev.npz``). Pictures in which all twelve
points of the limbs are seen are normalised as the engine does it, and a gradient-boosted classifier learns on half of
the people which are real; its AUC on the others says how far the simulation is from that detector on that data: 0.5 is
a perfect simulation. What it goes by: the AUC with each group of features shuffled.
"""

from pathlib import Path

import click
import jax
import numpy as np
from rich.console import Console
from rich.table import Table

from adapters.jobs.train_evidence import pose_pool
from engine.body.embedded import load_embedded_body
from engine.body.keypoint_body import KeypointBody, reduce_body
from engine.body.schemas import COCO_17, HALPE_26
from engine.picture.observation import observe
from engine.simulation.pictures import make_simulator, simulate
from engine.simulation.settings import DetectorSettings, SimulationSettings, VisibilitySettings

LIMB_POINTS = tuple(
    f"{side}_{part}" for part in ("shoulder", "elbow", "wrist", "hip", "knee", "ankle") for side in ("left", "right")
)
_COLUMNS = list(COCO_17.columns_of(LIMB_POINTS))
_SPANS = ((0, 2), (1, 3), (2, 4), (3, 5), (6, 8), (7, 9), (8, 10), (9, 11), (0, 1), (6, 7), (0, 6), (1, 7))
_BATCH = 2048


def features(points: np.ndarray) -> np.ndarray:
    """Coordinates in person heights and logarithms of lengths, mean taken off."""
    lengths = np.stack([np.linalg.norm(points[:, a] - points[:, b], axis=-1) for a, b in _SPANS], axis=1)
    logs = np.log(np.maximum(lengths, 0.004))
    return np.concatenate([points.reshape(len(points), -1), logs - logs.mean(axis=1, keepdims=True)], axis=1)


def normalised(body: KeypointBody, keypoints: np.ndarray) -> np.ndarray:
    seen = np.isfinite(keypoints).all(axis=-1)
    run = jax.jit(jax.vmap(lambda k, c: observe(body, k, c).points))
    return np.asarray(run(np.nan_to_num(keypoints).astype(np.float32), seen.astype(np.float32)))[:, _COLUMNS]


def simulated(settings: SimulationSettings, count: int, poses: Path | None) -> np.ndarray:
    body = reduce_body(load_embedded_body(), HALPE_26)
    simulator = make_simulator(body, pose_pool(poses))
    draw = jax.jit(lambda key: simulate(simulator, settings, key, _BATCH))
    points, seed = [], 0
    while sum(map(len, points)) < count:
        pictures = draw(jax.random.key(seed))
        keypoints = np.where(np.asarray(pictures.confidence)[..., None] > 0, np.asarray(pictures.keypoints), np.nan)
        keypoints = keypoints[:, list(HALPE_26.columns_of(COCO_17.keypoint_names))]
        points.append(keypoints[np.isfinite(keypoints[:, _COLUMNS]).all(axis=(1, 2))])
        seed += 1
    return np.concatenate(points)[:count]


@click.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--poses", type=click.Path(exists=True, path_type=Path), help="Captured poses (.npz).")
def main(folder: Path, poses: Path | None) -> None:
    """Train a classifier on each data set against the simulation."""
    try:
        from sklearn.ensemble import (  # pyright: ignore[reportMissingImports] (only this benchmark needs it)
            HistGradientBoostingClassifier,
        )
        from sklearn.metrics import roc_auc_score  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise click.ClickException("this benchmark needs scikit-learn: pip install scikit-learn") from None

    body = reduce_body(load_embedded_body(), COCO_17)
    small = SimulationSettings(
        detector=DetectorSettings(level=(0.01, 0.04), common_level=0.02, rounded_rate=1.0, small_height_px=(80, 130)),
        visibility=VisibilitySettings(complete_rate=1.0),
    )
    clean = SimulationSettings(visibility=VisibilitySettings(complete_rate=1.0))
    table = Table("real keypoints", "simulation", "AUC", "without coordinates", "without lengths")
    draw = np.random.default_rng(0)
    for name, group in (("market_train", "person"), ("deepfashion_dev", "item")):
        with np.load(folder / f"{name}.npz", allow_pickle=False) as stored:
            keypoints, people = np.asarray(stored["keypoints"], np.float64), stored[group]
        whole = np.isfinite(keypoints[:, _COLUMNS]).all(axis=(1, 2))
        real = features(normalised(body, keypoints[whole]))
        held_out = np.unique(people, return_inverse=True)[1][whole] % 2 == 1
        for label, settings in (("as for training", clean), ("2 % noise, rounded to pixels", small)):
            other = features(normalised(body, simulated(settings, len(real), poses)))
            test = draw.random(len(other)) < 0.5
            model = HistGradientBoostingClassifier(random_state=0)
            model.fit(
                np.concatenate([real[~held_out], other[~test]]),
                np.repeat([1, 0], [np.sum(~held_out), np.sum(~test)]),
            )
            known = np.concatenate([real[held_out], other[test]])
            truth = np.repeat([1, 0], [held_out.sum(), test.sum()])
            figures = [roc_auc_score(truth, model.predict_proba(known)[:, 1])]
            for columns in (slice(0, 24), slice(24, None)):
                shuffled = known.copy()
                shuffled[:, columns] = draw.permutation(known[:, columns])
                figures.append(roc_auc_score(truth, model.predict_proba(shuffled)[:, 1]))
            table.add_row(name, label, *(f"{figure:.3f}" for figure in figures))
    Console().print(table)


if __name__ == "__main__":
    main()
