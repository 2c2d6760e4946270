"""One name for arrays that are JAX's inside a compiled function and NumPy's outside."""

import jax
import numpy as np

AnyArray = jax.Array | np.ndarray
