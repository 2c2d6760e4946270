"""The host's scenario in figures: ``python -m benchmarks.host_batch [--pictures 10000] [--free 1024]``.

The batch processor against the engine's own time plus the inserts of the same rows, taken in turn; against the original
recipe, which fits picture by picture (extrapolated from three); and the guide's scenario in free pose: one reference,
the same picture a hundred times, five people of other shapes, and the same again in a fresh process.
"""

import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import numpy as np
from sqlalchemy import delete
from sqlalchemy.orm import sessionmaker

from adapters.batch_processor import BatchProcessor
from adapters.host.database import (
    BodyScore,
    HostDatabase,
    NewReference,
    create_tables,
    fit_shared_shape,
    load_shared_shape,
    open_database,
    replace_references,
    store_scores,
)
from adapters.host.database.score_store import score_rows
from adapters.host.inputs import array_table
from adapters.jobs.compile_cache import enable_compile_cache
from adapters.jobs.scorer import Scorer
from adapters.smpl_optimizer import compute_fitting_consistency, optimize_shared_beta
from benchmarks.metrics import hardware, median_ratio, timed
from benchmarks.rest_pose import random_pictures
from benchmarks.synthetic import SyntheticSettings, make_pictures, sampled_poses
from engine.body.embedded import load_embedded_body
from engine.body.keypoint_body import reduce_body
from engine.body.model import BodyModel
from engine.body.pose_prior import load_pose_prior
from engine.body.schemas import COCO_17
from engine.picture.observation import observe
from engine.scores import Mode
from engine.shape import Shape

_REPETITIONS = 100
_RECIPE_PICTURES = 3


def _open(url: str, body: BodyModel, reference: dict[str, Any], mode: Mode) -> tuple[HostDatabase, Shape]:
    engine = open_database(url)
    create_tables(engine)
    database = HostDatabase(sessionmaker(engine))
    replace_references(database, "anna", [NewReference("front.jpg", "body_front", reference)])
    return database, fit_shared_shape(database, "anna", body, mode)


def _plain(keypoints: np.ndarray, confidence: np.ndarray) -> dict[str, Any]:
    return {"keypoints": keypoints.tolist(), "confidence": confidence.tolist()}


def _wipe(database: HostDatabase) -> None:
    with database.sessions.begin() as session:
        session.execute(delete(BodyScore))


def batch_against_engine(url: str, count: int, mode: Mode, rounds: int) -> float:
    """Print the batch processor's time beside the engine's and the database's own; returns its pictures a second."""
    body = load_embedded_body()
    keypoints, confidence = random_pictures(reduce_body(body, COCO_17), count)
    database, stored = _open(url, body, _plain(keypoints[0], confidence[0]), mode)
    names = [f"{i:06}.jpg" for i in range(count)]
    scorer, processor = Scorer(body, COCO_17, stored), BatchProcessor(database, body)
    table = array_table(names, keypoints, confidence)

    def score() -> Any:
        return scorer(table)

    rows = score_rows("anna", stored.digest, score())

    def insert() -> None:
        with database.sessions.begin() as session:
            store_scores(session, BodyScore, rows)

    lists = [_plain(k, c) for k, c in zip(keypoints, confidence, strict=True)]

    def emptied(action: Callable[[], Any]) -> Callable[[], Any]:
        def run() -> float:
            _wipe(database)
            return timed(action)[0]

        return run

    actions = {
        "engine": lambda: timed(score)[0],
        "inserts": emptied(insert),
        "batch of arrays": emptied(lambda: processor.process("anna", names, (keypoints, confidence))),
        "batch of MMPose lists": emptied(lambda: processor.process("anna", names, lists)),
    }
    seconds: dict[str, list[float]] = {name: [] for name in actions}
    for _ in range(rounds):
        for name, action in actions.items():
            seconds[name].append(action())
    medians = {name: statistics.median(own) for name, own in seconds.items()}
    own = [a + b for a, b in zip(seconds["engine"], seconds["inserts"], strict=True)]
    click.echo(f"{mode}, {count} pictures: " + ", ".join(f"{name} {value:.3f} s" for name, value in medians.items()))
    for name in ("batch of arrays", "batch of MMPose lists"):
        click.echo(f"  {name} / (engine + inserts): {median_ratio(seconds[name], own):.2f}")
    return count / medians["batch of MMPose lists"]


def recipe_rate() -> float:
    """Pictures a second of the original recipe, one by one."""
    import jax

    from benchmarks import torch_recipe

    body = load_embedded_body()
    reduced = reduce_body(body, COCO_17)
    keypoints, confidence = random_pictures(reduced, _RECIPE_PICTURES)
    observed = jax.jit(jax.vmap(observe, in_axes=(None, 0, 0)))(reduced, keypoints, confidence)
    points, weights = np.asarray(observed.points), np.asarray(observed.confidence)
    through_mesh = torch_recipe.keypoint_function(body, reduced.schema.keypoint_names)
    sigmas, betas = np.asarray(reduced.schema.sigmas, np.float32), np.zeros(body.beta_count, np.float32)
    torch_recipe.per_picture(through_mesh, betas, points[:1], weights[:1], sigmas)
    return _RECIPE_PICTURES / timed(lambda: torch_recipe.per_picture(through_mesh, betas, points, weights, sigmas))[0]


def scenario(url: str) -> None:
    """The guide's scenario in free pose, and in a fresh process."""
    body = load_embedded_body()
    settings = SyntheticSettings(people=6, pictures=2, noise_level=0.003)
    drawn = make_pictures(reduce_body(body, COCO_17), sampled_poses(load_pose_prior(), 40), settings)
    people = [[_plain(drawn.keypoints_px[i, j], drawn.confidence[i, j]) for j in (0, 1)] for i in range(6)]
    _, stored = _open(url, body, people[0][0], "free")
    beta = stored.betas
    fits = {optimize_shared_beta([people[0][0]], body).tobytes() for _ in range(_REPETITIONS)}
    scores = {compute_fitting_consistency(people[0][0], beta, body) for _ in range(_REPETITIONS)}
    click.echo(
        f"same picture: {sorted(scores)}; {_REPETITIONS} fits: {len(fits)} different β, equal to the stored one: "
    )
    click.echo(f"  {fits == {beta.tobytes()}}")
    again = subprocess.run(
        [sys.executable, "-m", "benchmarks.host_batch", "--restarted", url],
        input=json.dumps(people[0][0]), capture_output=True, text=True, check=True,
    )  # fmt: skip
    digest, consistency = json.loads(again.stdout.splitlines()[-1])
    click.echo(f"after a restart: same β {digest == stored.digest}, same bits {consistency in scores}")
    other = [compute_fitting_consistency(own[0], beta, body) for own in people[1:]]
    click.echo(f"same person, other picture: {compute_fitting_consistency(people[0][1], beta, body):.3f}")
    click.echo(f"other people: {', '.join(f'{value:.3f}' for value in other)}")


def _restarted(url: str) -> None:
    person = json.loads(sys.stdin.read())
    stored = load_shared_shape(HostDatabase(sessionmaker(open_database(url))), "anna")
    body = load_embedded_body()
    click.echo(json.dumps([stored.digest, compute_fitting_consistency(person, stored.betas, body)]))


@click.command()
@click.option("--pictures", type=int, default=10_000, show_default=True, help="Pictures in rest pose.")
@click.option("--free", type=int, default=1024, show_default=True, help="Pictures in free pose.")
@click.option("--database", help="URL of an empty database; by default an SQLite file.")
@click.option("--restarted", hidden=True)
def main(pictures: int, free: int, database: str | None, restarted: str | None) -> None:
    """Measure the batch processor and the guide's scenario."""
    enable_compile_cache()
    if restarted:
        _restarted(restarted)
        return
    click.echo(", ".join(f"{key}: {value}" for key, value in hardware().items()))
    with tempfile.TemporaryDirectory() as folder:
        url = database or f"sqlite:///{Path(folder, 'host.db')}"
        rate = batch_against_engine(url, pictures, "rest", rounds=9)
        recipe = recipe_rate()
        click.echo(f"  {rate:,.0f} pictures/s; the recipe picture by picture {recipe:.2f}: {rate / recipe:,.0f} times")
        scenario(url)
        batch_against_engine(url, free, "free", rounds=2)


if __name__ == "__main__":
    main()
