"""Compiling for tests that compute little: an exact derivative takes a minute to optimise and a millisecond to run."""

from collections.abc import Callable
from typing import Any

import jax


def quick_jit(function: Callable, **options: Any) -> Callable:
    """``jax.jit`` without the compiler's own optimisations."""
    return jax.jit(function, compiler_options={"xla_backend_optimization_level": 0}, **options)
