"""Evidence of many pictures from the network, without fits.

Keypoints are normalised (``engine.picture.observation``), turned into features and evaluated exactly
(``engine.evidence.amortised.exact``), all in double precision; the evidence is given in single precision.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from engine.batching import AnyArray, map_samples_in_double
from engine.body.keypoint_body import KeypointBody, reduce_body
from engine.body.model import BodyModel
from engine.body.schemas import KeypointSchema
from engine.evidence.amortised.exact import as_integers, evidence_of_root, exact_root, from_integers
from engine.evidence.amortised.features import NETWORK_SCHEMA, Outline, picture_features
from engine.evidence.amortised.network import Network
from engine.evidence.shape_evidence import Evidence
from engine.picture.misfit import MIN_KEYPOINTS
from engine.picture.noise import NoiseModel
from engine.picture.observation import observe
from engine.picture.outline_places import PLACES, SIDES

_TILE_SIZE = 512
"""Pictures in one matrix product. Results do not depend on this number."""


class AmortisedModel(eqx.Module):
    """A body with its network. ``make_amortised`` makes it."""

    body: KeypointBody
    """The body, reduced to the network's keypoints that it has."""
    network: Network
    """Weights on the grid of exact arithmetic, in double precision."""


class _Context(eqx.Module):
    model: AmortisedModel
    level: Float[AnyArray, ""]
    factors: Float[AnyArray, " keypoints"]


def make_amortised(body: BodyModel, network: Network) -> AmortisedModel:
    """A body with its network, ready to be evaluated.

    Raises:
        ValueError: the network is for another number of shape components, or too large for exact arithmetic.
    """
    if network.beta_count != body.beta_count:
        raise ValueError(f"the network gives {network.beta_count} shape components, the body has {body.beta_count}")
    return AmortisedModel(reduce_body(body, NETWORK_SCHEMA), from_integers(as_integers(network)))


def amortised_evidence(
    model: AmortisedModel,
    schema: KeypointSchema,
    noise: NoiseModel,
    keypoints_px: Float[AnyArray, "images keypoints 2"],
    confidence: Float[AnyArray, "images keypoints"],
    outline_px: Float[AnyArray, "images places 2"] | None = None,
    clothes_m: Float[AnyArray, "*images"] | float | None = None,
) -> Evidence:
    """Evidence of each picture about the shape; zeros if too few keypoints are seen.

    Args:
        schema: schema of the columns; keypoints that the network does not know are left out.
        noise: assumed noise; its level should lie between 0.2 and 5 %.
        outline_px: widths at ``engine.picture.outline.PLACES``, pixels; NaN if not seen. A picture whose widths are all
            NaN gives the same evidence as without them; so does every picture if the network knows no outlines.
        clothes_m: thickness of the clothes of each picture, or of all, if it is known (``engine.picture.clothes``), NaN
            if not; by default they may be any. Pictures without an outline give the same evidence whatever it is.

    Raises:
        ValueError: the arrays do not have the schema's columns, or the outlines not the table's places.
    """
    keypoints_px, confidence = np.asarray(keypoints_px), np.asarray(confidence)
    if keypoints_px.shape[1:] != (len(schema), 2) or confidence.shape != keypoints_px.shape[:-1]:
        raise ValueError(
            f"keypoints {keypoints_px.shape} and confidence {confidence.shape} do not fit: expected (images, "
            f"{len(schema)}, 2) and (images, {len(schema)}) for schema {schema.name}"
        )
    known = model.body.schema
    columns = np.array(schema.columns_of(known.keypoint_names))
    # A keypoint that this detector lacks counts as not seen.
    own_confidence = np.where(columns >= 0, confidence[:, columns], 0.0)
    factors = np.asarray(noise.sigmas(known)) / np.asarray(NoiseModel(noise.level).sigmas(known))
    context = _Context(model, *(np.asarray(value, np.float64) for value in (noise.level, factors)))
    samples = (keypoints_px[:, columns], own_confidence)
    if outline_px is not None:
        expected = (len(keypoints_px), len(PLACES), SIDES)
        if np.shape(outline_px) != expected:
            raise ValueError(f"outlines {np.shape(outline_px)} do not fit: expected {expected}")
        if model.network.sees_outlines:
            clothes = np.asarray(np.nan if clothes_m is None else clothes_m)
            samples = (*samples, np.asarray(outline_px), np.broadcast_to(clothes, len(keypoints_px)))
    evidence = map_samples_in_double(_evidence, context, samples, _TILE_SIZE, quick=True)
    return jax.tree.map(lambda part: part.astype(np.float32), evidence)


def _evidence(context: _Context, picture: tuple[Array, ...]) -> Evidence:
    keypoints, confidence, *outlined = picture
    body = context.model.body
    usable = jnp.all(jnp.isfinite(keypoints), axis=-1) & (confidence > 0)
    observation = observe(body, keypoints, usable.astype(keypoints.dtype))
    enough = observation.measurable & (jnp.sum(usable) >= MIN_KEYPOINTS)
    exactness = jnp.where(usable, jnp.sqrt(jnp.clip(confidence, 0.0, 1.0)) / context.factors, 0.0)
    points, exactness = network_columns(body.schema, observation.points, exactness)
    outline = Outline(outlined[0] / observation.person_height_px, outlined[1]) if outlined else None
    features = picture_features(points, exactness, jnp.asarray(context.level), outline)
    found = evidence_of_root(exact_root(context.model.network, features))
    return Evidence(jnp.where(enough, found.precision, 0.0), jnp.where(enough, found.information, 0.0))


def network_columns(
    schema: KeypointSchema, points: Float[Array, "keypoints 2"], exactness: Float[Array, " keypoints"]
) -> tuple[Float[Array, "known 2"], Float[Array, " known"]]:
    """Points and exactness in the columns of ``NETWORK_SCHEMA``; zeros for keypoints that the schema lacks."""
    columns = np.array(schema.columns_of(NETWORK_SCHEMA.keypoint_names))
    known = columns >= 0
    if known.all():
        return points, exactness
    return jnp.where(known[:, None], points[columns], 0.0), jnp.where(known, exactness[columns], 0.0)
