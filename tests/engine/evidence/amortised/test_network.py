"""The network: mirrored pictures, exact arithmetic, evidence that is always valid."""

import os
import subprocess
import sys
from dataclasses import replace

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import multivariate_normal

from engine.body.keypoint_body import reduce_body
from engine.body.model import BodyModel
from engine.body.schemas import COCO_17, HALPE_26, WHOLEBODY_133
from engine.evidence.amortised.evidence import AmortisedModel, amortised_evidence, make_amortised
from engine.evidence.amortised.exact import as_integers, exact_root, from_integers
from engine.evidence.amortised.features import NETWORK_SCHEMA, Features, Outline, picture_features
from engine.evidence.amortised.losses import density_loss, log_marginals
from engine.evidence.amortised.network import Network, hidden_layers, init_network, root_of
from engine.evidence.amortised.network_file import NetworkFileError, load_network, save_network
from engine.evidence.shape_evidence import Evidence, log_marginal
from engine.picture.noise import NoiseModel
from engine.picture.outline import mirrored_outline

NOISE = NoiseModel(0.01)


@pytest.fixture(scope="module")
def network() -> Network:
    """Random, but with outputs of the size that trained ones have."""
    network, _ = init_network(jax.random.key(4), pairs=24, layers=2, beta_count=10)
    return jax.tree.map(np.asarray, network)


@pytest.fixture(scope="module")
def model(anny: BodyModel, network: Network) -> AmortisedModel:
    return make_amortised(anny, network)


def pictures(count: int, schema=COCO_17, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    keypoints = generator.uniform(0, 1000, (count, len(schema), 2)).astype(np.float32)
    confidence = generator.uniform(0.1, 1, (count, len(schema))) * (generator.random((count, len(schema))) < 0.8)
    return keypoints, confidence.astype(np.float32)


def evaluate(model: AmortisedModel, keypoints: np.ndarray, confidence: np.ndarray, schema=COCO_17) -> Evidence:
    return amortised_evidence(model, schema, NOISE, keypoints, confidence)


def equal(one: Evidence, other: Evidence) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


def test_a_mirror_leaves_even_features_alone_and_negates_odd_ones() -> None:
    generator = np.random.default_rng(1)
    points = generator.normal(size=(26, 2)).astype(np.float32)
    exactness = (generator.random(26) * (generator.random(26) < 0.7)).astype(np.float32)
    swap = list(HALPE_26.swap)
    mirrored = points[swap] * np.array([-1, 1], np.float32)
    own = picture_features(jnp.asarray(points), jnp.asarray(exactness), jnp.float32(0.01))
    other = picture_features(jnp.asarray(mirrored), jnp.asarray(exactness[swap]), jnp.float32(0.01))
    assert np.allclose(own.even, other.even, atol=1e-6)
    assert np.allclose(own.odd, -other.odd, atol=1e-6)
    assert np.abs(own.odd).max() > 0.1


def test_a_mirror_does_the_same_to_features_of_outlines() -> None:
    generator = np.random.default_rng(7)
    widths = np.where(generator.random((45, 2)) < 0.7, generator.uniform(0.02, 0.2, (45, 2)), np.nan)
    points, exactness = np.zeros((26, 2)), np.ones(26)

    def features(outline: np.ndarray) -> Features:
        return picture_features(*map(jnp.asarray, (points, exactness)), jnp.asarray(0.01), Outline(outline, np.nan))

    with jax.enable_x64(True):
        own, other = features(widths), features(mirrored_outline(widths))
        bare = picture_features(jnp.asarray(points), jnp.asarray(exactness), jnp.asarray(0.01))
    assert np.array_equal(own.even, other.even)
    assert np.array_equal(own.odd, -other.odd)
    assert np.array_equal(own.even[: bare.even.shape[0]], bare.even)
    assert np.abs(own.odd[bare.odd.shape[0] :]).max() > 0.1


@pytest.fixture(scope="module")
def seeing(anny: BodyModel) -> AmortisedModel:
    """A network that takes outlines."""
    network, _ = init_network(jax.random.key(4), pairs=24, layers=2, beta_count=10, outlines=True)
    return make_amortised(anny, jax.tree.map(np.asarray, network))


def outlines(count: int) -> np.ndarray:
    generator = np.random.default_rng(8)
    return np.where(generator.random((count, 45, 2)) < 0.7, np.round(generator.uniform(5, 60, (count, 45, 2))), np.nan)


def with_outlines(model: AmortisedModel, keypoints: np.ndarray, confidence: np.ndarray, widths: np.ndarray) -> Evidence:
    return amortised_evidence(model, COCO_17, NOISE, keypoints, confidence, widths)


def test_outlines_are_used_and_unseen_ones_change_no_bit(seeing: AmortisedModel) -> None:
    keypoints, confidence = pictures(40)
    widths = outlines(40)
    widths[::2] = np.nan
    bare, own = evaluate(seeing, keypoints, confidence), with_outlines(seeing, keypoints, confidence, widths)
    changed = (own.precision != bare.precision).any(axis=(1, 2))
    assert not changed[::2].any()
    assert changed[1::2].all()
    assert np.isfinite(own.precision).all()
    known = amortised_evidence(seeing, COCO_17, NOISE, keypoints, confidence, widths, clothes_m=0.003)
    assert ((known.precision != own.precision).any(axis=(1, 2)) == changed).all()
    with pytest.raises(ValueError, match=r"\(40, 45, 2\)"):
        with_outlines(seeing, keypoints, confidence, widths[:, :3])


def test_outlines_are_mirrored_and_resized_without_a_change(seeing: AmortisedModel) -> None:
    keypoints, confidence = pictures(64)
    keypoints, widths = np.round(keypoints), outlines(64)
    own = with_outlines(seeing, keypoints, confidence, widths)
    swap = list(COCO_17.swap)
    mirrored = keypoints[:, swap] * np.array([-1, 1]) + np.array([1024, 0])
    assert equal(own, with_outlines(seeing, mirrored, confidence[:, swap], mirrored_outline(widths)))
    assert equal(own, with_outlines(seeing, 4 * keypoints, confidence, 4 * widths))


def test_a_network_without_outlines_ignores_them(model: AmortisedModel) -> None:
    keypoints, confidence = pictures(40)
    assert equal(evaluate(model, keypoints, confidence), with_outlines(model, keypoints, confidence, outlines(40)))


def test_networks_with_and_without_outlines_are_kept_in_files(anny: BodyModel, network: Network, tmp_path) -> None:
    larger, _ = init_network(jax.random.key(4), pairs=24, layers=2, beta_count=10, outlines=True)
    for name, one in (("small.npz", network), ("large.npz", jax.tree.map(np.asarray, larger))):
        save_network(tmp_path / name, one, anny, {})
        read = load_network(tmp_path / name, anny)
        assert read.sees_outlines == (name == "large.npz")
        assert np.allclose(read.first_even, one.first_even, atol=2**-13)
    save_network(tmp_path / "odd.npz", eqx.tree_at(lambda n: n.first_even, larger, larger.first_even[:-1]), anny, {})
    with pytest.raises(NetworkFileError, match="fit together"):
        load_network(tmp_path / "odd.npz", anny)


def test_mirrored_pictures_give_the_same_bits(model: AmortisedModel) -> None:
    keypoints, confidence = pictures(64)
    keypoints = np.round(keypoints)  # so that mirroring rounds nothing
    swap = list(COCO_17.swap)
    mirrored = keypoints[:, swap] * np.array([-1, 1]) + np.array([1024, 0])
    assert equal(evaluate(model, keypoints, confidence), evaluate(model, mirrored, confidence[:, swap]))


@pytest.mark.parametrize("rows", [slice(0, 1), slice(3, 10), slice(100, 228), slice(1, 1300)])
def test_a_picture_gives_the_same_bits_wherever_it_stands(model: AmortisedModel, rows: slice) -> None:
    keypoints, confidence = pictures(1300)
    everything = evaluate(model, keypoints, confidence)
    part = evaluate(model, keypoints[rows], confidence[rows])
    assert equal(part, Evidence(*(values[rows] for values in everything)))


def test_sums_are_exact_in_any_order(network: Network) -> None:
    """Hidden units in another order are other sums; exact ones are equal."""
    generator = np.random.default_rng(2)
    order = generator.permutation(network.even.shape[-1])
    exact = from_integers(as_integers(network))
    shuffled = Network(
        first_even=exact.first_even[:, order],
        first_odd=exact.first_odd[:, order],
        first_bias=exact.first_bias[order],
        even=exact.even[:, order][:, :, order],
        odd=exact.odd[:, order][:, :, order],
        bias=exact.bias[:, order],
        last=exact.last[order],
        last_bias=exact.last_bias,
    )
    with jax.enable_x64(True):
        features = Features(
            jnp.asarray(generator.normal(size=(50, exact.first_even.shape[0]))),
            jnp.asarray(generator.normal(size=(50, exact.first_odd.shape[0]))),
        )
        one, other = exact_root(exact, features), exact_root(shuffled, features)
        assert all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))
        # NumPy's matrix product adds in yet another order.
        assert np.array_equal(np.asarray(one.lower) @ np.asarray(one.lower).swapaxes(1, 2),
                              np.asarray(one.lower @ jnp.swapaxes(one.lower, 1, 2)))  # fmt: skip


def test_exact_evaluation_is_the_trained_function(network: Network) -> None:
    generator = np.random.default_rng(3)
    features = Features(
        generator.normal(size=(50, network.first_even.shape[0])).astype(np.float32),
        generator.normal(size=(50, network.first_odd.shape[0])).astype(np.float32),
    )
    hidden = hidden_layers(network, features)
    trained = root_of(hidden.even @ network.last + network.last_bias, 10)
    with jax.enable_x64(True):
        wide = Features(*(np.asarray(part, np.float64) for part in features))
        exact = exact_root(from_integers(as_integers(network)), wide)
    assert np.allclose(trained.lower, exact.lower, atol=0.02)
    assert np.allclose(trained.whitened, exact.whitened, atol=0.02)


def test_threads_and_processes_change_no_bit() -> None:
    program = (
        "import hashlib, jax, numpy as np;"
        "from engine.body.embedded import load_embedded_body; from engine.body.schemas import COCO_17;"
        "from engine.evidence.amortised.evidence import amortised_evidence, make_amortised;"
        "from engine.evidence.amortised.network import init_network; from engine.rest.problem import NoiseModel;"
        "network = init_network(jax.random.key(4), 24, 2, 10)[0]; draw = np.random.default_rng(0);"
        "points, seen = draw.uniform(0, 1000, (600, 17, 2)), draw.uniform(0, 1, (600, 17));"
        "model = make_amortised(load_embedded_body(), network);"
        "found = amortised_evidence(model, COCO_17, NoiseModel(0.01), points, seen);"
        "print(hashlib.sha256(b''.join(part.tobytes() for part in found)).hexdigest())"
    )
    flags = ("--xla_cpu_multi_thread_eigen=false", "--xla_cpu_multi_thread_eigen=true")
    printed = {
        subprocess.run(
            [sys.executable, "-c", program],
            env=os.environ | {"XLA_FLAGS": flag, "PYTHONPATH": os.pathsep.join(sys.path)},
            capture_output=True, text=True, check=True,
        ).stdout
        for flag in flags
    }  # fmt: skip
    assert len(printed) == 1


def test_evidence_is_valid_and_absent_where_too_little_is_seen(model: AmortisedModel) -> None:
    keypoints, confidence = pictures(100)
    keypoints[0] = np.nan
    confidence[1] = 0
    confidence[2] = np.where(np.arange(17) < 3, 1, 0)
    keypoints[3, 5] = np.inf
    found = evaluate(model, keypoints, confidence)
    assert not found.precision[:3].any()
    assert not found.information[:3].any()
    assert found.precision[3].any()
    assert np.isfinite(found.precision).all()
    assert np.isfinite(found.information).all()
    assert np.linalg.eigvalsh(found.precision.astype(np.float64)).min() > -1e-4
    assert np.array_equal(found.precision, found.precision.swapaxes(1, 2))


def test_resizing_shifting_and_unseen_keypoints_change_nothing(model: AmortisedModel) -> None:
    keypoints, confidence = pictures(40)
    own = evaluate(model, keypoints, confidence)
    assert equal(own, evaluate(model, 4 * keypoints, confidence))
    moved = evaluate(model, 1.7 * keypoints.astype(np.float64) + 31.0, confidence)
    assert np.allclose(own.precision, moved.precision, rtol=1e-2, atol=1e-2)
    assert equal(own, evaluate(model, np.where(confidence[..., None] > 0, keypoints, np.nan), confidence))


def test_keypoints_are_matched_by_name(model: AmortisedModel) -> None:
    keypoints, confidence = pictures(20)
    wide, seen = np.zeros((20, 133, 2), np.float32), np.zeros((20, 133), np.float32)
    wide[:, :17], seen[:, :17] = keypoints, confidence
    wide[:, 100], seen[:, 100] = 5.0, 1.0  # a finger, which the network does not know
    assert equal(evaluate(model, keypoints, confidence), evaluate(model, wide, seen, WHOLEBODY_133))


def test_a_body_with_fewer_keypoints_has_them_unseen(anny: BodyModel, network: Network) -> None:
    kept = [k for k, name in enumerate(anny.keypoint_names) if name in COCO_17.keypoint_names]
    rows = np.array(kept)
    smaller = replace(
        anny,
        keypoint_vertices=anny.keypoint_vertices[rows],
        keypoint_joints=anny.keypoint_joints[rows],
        keypoint_names=tuple(anny.keypoint_names[k] for k in kept),
    )
    assert len(reduce_body(smaller, NETWORK_SCHEMA).schema) == 17
    keypoints, confidence = pictures(20)
    assert equal(
        evaluate(make_amortised(anny, network), keypoints, confidence),
        evaluate(make_amortised(smaller, network), keypoints, confidence),
    )


def test_the_loss_is_the_posteriors_log_density() -> None:
    """Of single pictures, and of sums of several."""
    generator = np.random.default_rng(5)
    lower = np.tril(generator.normal(size=(2, 3, 1, 10, 10)))
    evidence = Evidence(lower @ np.swapaxes(lower, -1, -2), generator.normal(size=(2, 3, 1, 10)))
    betas = generator.normal(size=(2, 3, 10))
    expected = []
    for precision, information, truth in zip(
        evidence.precision.reshape(-1, 10, 10), evidence.information.reshape(-1, 10), betas.reshape(-1, 10), strict=True
    ):
        covariance = np.linalg.inv(np.eye(10) + precision)
        density = multivariate_normal.logpdf(truth, covariance @ information, covariance)
        expected.append(-density - 5 * np.log(2 * np.pi))
    found = density_loss(jax.tree.map(jnp.asarray, evidence), jnp.asarray(betas))
    assert np.isclose(found, np.mean(expected), rtol=1e-4)


def test_comparisons_are_those_of_the_engine() -> None:
    """Log marginals, of which Bayes factors in training are made."""
    generator = np.random.default_rng(6)
    lower = np.tril(generator.normal(size=(5, 10, 10)))
    evidence = jax.tree.map(jnp.asarray, Evidence(lower @ np.swapaxes(lower, -1, -2), generator.normal(size=(5, 10))))
    (found,) = log_marginals(evidence)
    np.testing.assert_allclose(found, jax.vmap(log_marginal)(evidence), rtol=2e-5, atol=1e-5)


def test_too_large_weights_are_refused(network: Network) -> None:
    with pytest.raises(ValueError, match="last"):
        as_integers(eqx.tree_at(lambda n: n.last, network, network.last + 9))
