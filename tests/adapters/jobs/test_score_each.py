"""Fits and scores of many clients together are those of each alone, bit for bit."""

from typing import Any

import numpy as np
import pytest

from adapters.host.inputs import array_table
from adapters.jobs.fit import FitSettings, fit_each, fit_references
from adapters.jobs.score_each import score_each
from adapters.jobs.scorer import Scorer
from adapters.keypoints.table import KeypointTable
from engine.body.model import BodyModel
from engine.body.schemas import COCO_17
from engine.scores import Mode
from engine.shape import Shape


def tables(t_pose_pictures: Any, seed: int, *counts: int) -> list[KeypointTable]:
    betas = np.random.default_rng(seed).normal(size=(len(counts), 10))
    drawn = [t_pose_pictures(betas[i], count, seed + i) for i, count in enumerate(counts)]
    return [array_table([f"{i}.jpg" for i in range(len(c))], k, c, COCO_17) for k, c in drawn]


def assert_same(one: Shape, other: Shape) -> None:
    assert one.record() == other.record()
    assert one.digest == other.digest


@pytest.mark.parametrize(
    ("mode", "counts"), [("rest", (3, 1, 2, 1, 5)), pytest.param("free", (2, 1), marks=pytest.mark.slow)]
)
def test_together_as_alone(anny: BodyModel, t_pose_pictures, mode: Mode, counts: tuple[int, ...]) -> None:
    settings = FitSettings("all", mode)
    references = tables(t_pose_pictures, 0, *counts)
    shapes = fit_each(references, anny, settings)
    for table, shape in zip(references, shapes, strict=True):
        assert isinstance(shape, Shape)
        assert_same(shape, fit_references(table, anny, settings))
    pictures = tables(t_pose_pictures, 50, *reversed(counts))
    known = [shape for shape in shapes if isinstance(shape, Shape)]
    for table, shape, together in zip(pictures, known, score_each(anny, COCO_17, pictures, known), strict=True):
        alone = Scorer(anny, COCO_17, shape)(table)
        assert together.to_batch().equals(alone.to_batch())


def test_one_who_cannot_be_fitted_spares_the_others(anny: BodyModel, t_pose_pictures) -> None:
    settings = FitSettings("all", "rest")
    good = tables(t_pose_pictures, 3, 2)[0]
    unseen = array_table(["a.jpg"], np.zeros((1, 17, 2)), np.zeros((1, 17)), COCO_17)
    nobody = array_table([], np.zeros((0, 17, 2)), np.zeros((0, 17)), COCO_17)
    found = fit_each([unseen, good, nobody], anny, settings)
    assert isinstance(found[0], ValueError)
    assert isinstance(found[1], Shape)
    assert_same(found[1], fit_references(good, anny, settings))
    assert isinstance(found[2], ValueError)


def test_a_table_without_pictures(anny: BodyModel, t_pose_pictures) -> None:
    references = tables(t_pose_pictures, 7, 1, 1)
    shapes = [shape for shape in fit_each(references, anny, FitSettings("all", "rest")) if isinstance(shape, Shape)]
    empty = array_table([], np.zeros((0, 17, 2)), np.zeros((0, 17)), COCO_17)
    first, second = score_each(anny, COCO_17, [references[0], empty], shapes)
    assert (len(first), len(second)) == (1, 0)
