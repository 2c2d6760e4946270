"""The network evaluated without rounding: the same bits in any batch, on any number of threads, on CPU and GPU.

Floating-point sums depend on their order, and the order depends on tiles, lanes, threads and devices. Exact sums do not
depend on it. Double-precision products and sums of numbers on a grid are exact as long as they fit into 53 bits:
weights are multiples of 2⁻¹⁶ below 2³ (those of the first layer, which undoes the small variance of features, of 2⁻¹²
below 2⁷: 19 bits), activations multiples of 2⁻¹⁴ below 2⁵ (19 bits), and a sum of 512 products takes 19 + 19 + 9 = 47.
Every layer's result is rounded back to the grid of activations, which is a function of one number. L and u are
multiples of 2⁻¹² below 2⁶ (18 bits), so Λ = L Lᵀ and h = L u are exact as well.

The steps before, from pixels to features, are elementwise but for short sums in double precision. The last bits of
those sums could differ between devices (not between batches). The grid of features, 2⁻¹⁴, is so much coarser that about
one feature in 10¹⁰ could round differently.
"""

from collections.abc import Mapping

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int32

from engine.batching import AnyArray
from engine.evidence.amortised.features import Features
from engine.evidence.amortised.network import Network, Root, activation, first_layer, root_of
from engine.evidence.shape_evidence import Evidence

_FIRST_LAYER = ("first_even", "first_odd", "first_bias")
_SIGNIFICANT_BITS = 19
_ACTIVATION_BITS = 14
_ACTIVATION_BOUND = 31.0
_ROOT_BITS = 12
_ROOT_BOUND = 63.0
LARGEST_LAYER = 512


def weight_bits(name: str) -> int:
    """Number of fractional bits n of the weights of this name: they are multiples of 2⁻ⁿ."""
    return 12 if name in _FIRST_LAYER else 16


def as_integers(network: Network) -> dict[str, Int32[np.ndarray, "..."]]:
    """The weights in units of their grids, by name.

    Raises:
        ValueError: a layer is too wide, or a weight too large or not finite, for exact sums.
    """
    widest = max(network.first_even.shape[0], network.first_odd.shape[0], network.even.shape[-1])
    if widest > LARGEST_LAYER:
        raise ValueError(f"a layer has {widest} inputs; sums are exact up to {LARGEST_LAYER}")
    integers = {}
    for name, leaf in vars(network).items():
        units = np.round(np.asarray(leaf, np.float64) * 2.0 ** weight_bits(name))
        largest = float(np.max(np.abs(units)))
        if not largest < 2**_SIGNIFICANT_BITS:
            raise ValueError(f"the largest weight of {name} is {largest / 2 ** weight_bits(name):g}: too large")
        integers[name] = units.astype(np.int32)
    return integers


def from_integers(integers: Mapping[str, Int32[np.ndarray, "..."]]) -> Network:
    """The network on its grid, in double precision."""
    return Network(**{name: units / 2.0 ** weight_bits(name) for name, units in integers.items()})


def _on_grid(values: Float[AnyArray, "*n"], bits: int, bound: float) -> Float[Array, "*n"]:
    return jnp.round(jnp.clip(values, -bound, bound) * 2.0**bits) * 2.0**-bits


def _activations(values: Float[AnyArray, "*n"]) -> Float[Array, "*n"]:
    return _on_grid(values, _ACTIVATION_BITS, _ACTIVATION_BOUND)


def exact_root(network: Network, features: Features) -> Root:
    """L and u of one picture, or of many.

    Args:
        network: result of ``from_integers``.
        features: double precision; not yet on the grid.
    """
    on_grid = Features(*(_activations(part) for part in features))
    even, odd = (_activations(part) for part in first_layer(network, on_grid))
    for layer in range(network.even.shape[0]):
        active_even, active_odd = _activated(even, odd)
        even = _activations(even + active_even @ network.even[layer] + network.bias[layer])
        odd = _activations(odd + active_odd @ network.odd[layer])
    active_even, _ = _activated(even, odd)
    root = root_of(active_even @ network.last + network.last_bias, network.beta_count)
    return Root(*(_on_grid(part, _ROOT_BITS, _ROOT_BOUND) for part in root))


def _activated(even: AnyArray, odd: AnyArray) -> tuple[Array, Array]:
    # The grid is half as fine as the activations', so that the halves of their sums are exact and on the activations'.
    first, second = (_on_grid(activation(x), _ACTIVATION_BITS - 1, _ACTIVATION_BOUND) for x in (even + odd, even - odd))
    return 0.5 * (first + second), 0.5 * (first - second)


def evidence_of_root(root: Root) -> Evidence:
    """Λ = L Lᵀ and h = L u, exact."""
    return Evidence(
        root.lower @ jnp.swapaxes(root.lower, -1, -2), jnp.sum(root.lower * root.whitened[..., None, :], axis=-1)
    )
