"""The network: a residual perceptron that gives mirrored pictures the same answer.

Its units come in pairs (a, b) that a mirror exchanges. A pair has an even part e = ½ (a + b) and an odd part
o = ½ (a − b). A layer that commutes with the mirror is one matrix for the even and one for the odd parts,

    e ← e + W_e ē + bias,   o ← o + W_o ō,   where (ē, ō) are the parts of φ(e + o), φ(e − o),

which is half the work of a full matrix and gives mirrored pictures the same answer without evaluating them twice. The
activation is φ(x) = x · clip(x/4 + ½, 0, 1).

The output is evidence by construction: a lower triangle L and a vector u, with Λ = L Lᵀ, h = L u. Λ is positive
semi-definite, and h vanishes where Λ does. The posterior is N((I + Λ)⁻¹ h, (I + Λ)⁻¹); it is trained by maximum
likelihood on simulated pictures (Papamakarios and Murray, "Fast ε-free inference of simulation models with Bayesian
conditional density estimation", NeurIPS 2016). A second output, used in training only, gives the depths of the
keypoints, because the foreshortening of a limb determines its length.
"""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from engine.batching import AnyArray
from engine.evidence.amortised.features import (
    EVEN_COUNT,
    NETWORK_SCHEMA,
    ODD_COUNT,
    OUTLINE_EVEN_COUNT,
    OUTLINE_ODD_COUNT,
    Features,
)

LARGEST_ROOT = 60.0
"""Bound of the entries of L; it allows precisions of 3,600, which is noise of 0.1 %."""
LARGEST_WHITENED = 60.0
"""Bound of the entries of u."""


class Network(eqx.Module):
    """Weights. A pytree."""

    first_even: Float[AnyArray, "even pairs"]
    first_odd: Float[AnyArray, "odd pairs"]
    first_bias: Float[AnyArray, " pairs"]
    even: Float[AnyArray, "layers pairs pairs"]
    odd: Float[AnyArray, "layers pairs pairs"]
    bias: Float[AnyArray, "layers pairs"]
    last: Float[AnyArray, "pairs outputs"]
    last_bias: Float[AnyArray, " outputs"]

    @property
    def beta_count(self) -> int:
        """Number n of shape components; there are n (n + 1) / 2 entries of L and n of u."""
        return int((-3 + np.sqrt(9 + 8 * self.last.shape[1])) / 2)

    @property
    def sees_outlines(self) -> bool:
        """Whether the network was trained with outlines; if not, their features must be left out."""
        return self.first_even.shape[0] > EVEN_COUNT


class DepthHead(eqx.Module):
    """The second output, for training."""

    even: Float[AnyArray, "pairs keypoints"]
    odd: Float[AnyArray, "pairs keypoints"]


class Hidden(NamedTuple):
    """Even and odd parts of the last layer's activations."""

    even: Float[Array, "*images pairs"]
    odd: Float[Array, "*images pairs"]


class Root(NamedTuple):
    """Root of the evidence: Λ = L Lᵀ and h = L u."""

    lower: Float[Array, "*images betas betas"]
    whitened: Float[Array, "*images betas"]


def init_network(
    key: Array, pairs: int, layers: int, beta_count: int, outlines: bool = False
) -> tuple[Network, DepthHead]:
    """Small random weights: the evidence of an untrained network is nearly zero.

    Args:
        outlines: take features of outlines as well.
    """
    keys = jax.random.split(key, 7)

    def normal(key: Array, *shape: int, scale: float = 1.0) -> Array:
        return scale * jax.random.normal(key, shape) / jnp.sqrt(shape[-2])

    outputs = beta_count * (beta_count + 3) // 2
    count = len(NETWORK_SCHEMA)
    even_count = EVEN_COUNT + outlines * OUTLINE_EVEN_COUNT
    odd_count = ODD_COUNT + outlines * OUTLINE_ODD_COUNT
    network = Network(
        first_even=normal(keys[0], even_count, pairs, scale=2.0),
        first_odd=normal(keys[1], odd_count, pairs, scale=2.0),
        first_bias=jnp.zeros(pairs),
        even=normal(keys[2], layers, pairs, pairs),
        odd=normal(keys[3], layers, pairs, pairs),
        bias=jnp.zeros((layers, pairs)),
        last=normal(keys[4], pairs, outputs, scale=0.3),
        last_bias=jnp.zeros(outputs),
    )
    return network, DepthHead(normal(keys[5], pairs, count, scale=0.1), normal(keys[6], pairs, count, scale=0.1))


def first_layer(network: Network, features: Features) -> tuple[AnyArray, AnyArray]:
    """Even and odd values before the first activation. Features of outlines come last and may be left out."""
    even = features.even @ network.first_even[: features.even.shape[-1]] + network.first_bias
    return even, features.odd @ network.first_odd[: features.odd.shape[-1]]


def activation(x: AnyArray) -> Array:
    """x · clip(x/4 + ½, 0, 1): smooth at zero like SiLU, made of products and comparisons only."""
    return jnp.asarray(x) * jnp.clip(0.25 * x + 0.5, 0.0, 1.0)


def _activated(even: AnyArray, odd: AnyArray) -> tuple[Array, Array]:
    first, second = activation(even + odd), activation(even - odd)
    return 0.5 * (first + second), 0.5 * (first - second)


def hidden_layers(network: Network, features: Features) -> Hidden:
    """Last layer's activations for a whole batch, in single precision; used in training."""
    even, odd = first_layer(network, features)
    for layer in range(network.even.shape[0]):
        active_even, active_odd = _activated(even, odd)
        even = even + active_even @ network.even[layer] + network.bias[layer]
        odd = odd + active_odd @ network.odd[layer]
    return Hidden(*_activated(even, odd))


def root_of(outputs: Float[Array, "*images outputs"], beta_count: int) -> Root:
    """L and u from the numbers of the last layer."""
    size = beta_count * (beta_count + 1) // 2
    rows, columns = np.tril_indices(beta_count)
    place = np.zeros((beta_count, beta_count), int)
    place[rows, columns] = np.arange(size)
    mask = np.tril(np.ones((beta_count, beta_count)))
    entries = jnp.clip(outputs[..., :size], -LARGEST_ROOT, LARGEST_ROOT)
    lower = entries[..., place] * mask.astype(outputs.dtype)
    return Root(lower, jnp.clip(outputs[..., size:], -LARGEST_WHITENED, LARGEST_WHITENED))
