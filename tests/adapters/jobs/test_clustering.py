"""Groups of pictures: found where pictures say much, and unsure where they say little."""

import numpy as np
import pytest

from adapters.jobs.clustering import cluster_pictures
from engine.evidence.shape_evidence import Evidence


def _pictures(strength: float, people: int = 6, pictures: int = 5) -> tuple[Evidence, np.ndarray]:
    """Evidence as many keypoints and little noise would give it; strength 1 is one unit of noise per component."""
    draw = np.random.default_rng(3)
    person = np.repeat(np.arange(people), pictures)
    roots = strength * draw.normal(size=(len(person), 10, 10)) / np.sqrt(10)
    precision = np.einsum("nki,nkj->nij", roots, roots)
    information = np.einsum("nij,nj->ni", precision, draw.normal(size=(people, 10))[person])
    information += np.einsum("nki,nk->ni", roots, draw.normal(size=(len(person), 10)))
    return Evidence(precision.astype(np.float32), information.astype(np.float32)), person


def test_people_are_found_where_pictures_say_much() -> None:
    evidence, person = _pictures(strength=20)
    found = cluster_pictures(evidence)
    np.testing.assert_array_equal(found.group, person)
    assert (found.probability > 0.99).all()
    assert (found.margin > 5).all()
    assert (found.cohesion > 20).all()


def test_order_changes_nothing_but_the_numbers_of_groups() -> None:
    evidence, _ = _pictures(strength=20)
    order = np.random.default_rng(0).permutation(len(evidence.information))
    found, shuffled = cluster_pictures(evidence), cluster_pictures(Evidence(*(part[order] for part in evidence)))
    together = found.group[:, None] == found.group
    np.testing.assert_array_equal(shuffled.group[:, None] == shuffled.group, together[np.ix_(order, order)])


def test_pictures_that_say_little_are_not_claimed_for_any_group() -> None:
    evidence, _ = _pictures(strength=0.3)
    found = cluster_pictures(evidence)
    assert found.probability.max() < 0.7


def test_more_evidence_asked_for_makes_more_groups() -> None:
    evidence, _ = _pictures(strength=2)
    sizes = [cluster_pictures(evidence, least).group.max() for least in (-2.0, 0.0, 2.0, 1e6)]
    assert sizes == sorted(sizes)
    assert sizes[-1] == len(evidence.information) - 1, "nothing is joined"


def test_one_picture_is_a_group_and_none_are_refused() -> None:
    evidence, _ = _pictures(strength=1)
    found = cluster_pictures(Evidence(*(part[:1] for part in evidence)))
    assert found.group.tolist() == [0]
    assert found.log_bayes_factor[0] == pytest.approx(0, abs=1e-5)
    with pytest.raises(ValueError, match="cannot be grouped"):
        cluster_pictures(Evidence(*(part[:0] for part in evidence)))
