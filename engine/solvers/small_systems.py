"""Small positive definite systems, thousands at a time.

Gauss-Jordan elimination without pivoting, which positive definite matrices do not need (Higham, "Accuracy and stability
of numerical algorithms", 2002, theorem 10.3 and section 14.4). Written as whole-matrix updates, it vectorises over any
batch.

It also keeps LAPACK out of batched code: on CPU, jaxlib 0.10's batched LAPACK calls wait inside the thread pool for
tasks of that same pool, and two batches that are computed at once (two threads of a server, say) wait for ever.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


def solve_positive(matrix: Float[Array, "n n"], right: Float[Array, "n k"]) -> Float[Array, "n k"]:
    """matrix⁻¹ right, for a positive definite matrix; not finite where it is not."""
    order = jnp.arange(len(matrix))

    def eliminate(pivot: Array, rows: Float[Array, "n m"]) -> Float[Array, "n m"]:
        pivot_row = jax.lax.dynamic_slice_in_dim(rows, pivot, 1, axis=0)
        column = jax.lax.dynamic_slice_in_dim(rows, pivot, 1, axis=1)
        inverse = 1 / jax.lax.dynamic_slice_in_dim(pivot_row, pivot, 1, axis=1)
        # The pivot's own row is divided by the pivot: one update serves all rows.
        factor = jnp.where((order == pivot)[:, None], 1 - inverse, column * inverse)
        return rows - factor * pivot_row

    # Two eliminations per turn of the loop save the copy from one turn to the next.
    both = jnp.concatenate([matrix, right], axis=1)
    return jax.lax.fori_loop(0, len(matrix), eliminate, both, unroll=2)[:, len(matrix) :]


def whitening_factor(matrix: Float[Array, "n n"]) -> Float[Array, "n n"]:
    """W with Wᵀ matrix W = 1 for a positive definite matrix: L⁻ᵀ of its Cholesky factor.

    Forward elimination turns (matrix, 1) into (D Lᵀ, L⁻¹), with L of unit diagonal; rows are divided by √D.
    """
    order = jnp.arange(len(matrix))

    def eliminate(pivot: Array, rows: Float[Array, "n m"]) -> Float[Array, "n m"]:
        pivot_row = jax.lax.dynamic_slice_in_dim(rows, pivot, 1, axis=0)
        column = jax.lax.dynamic_slice_in_dim(rows, pivot, 1, axis=1)
        inverse = 1 / jax.lax.dynamic_slice_in_dim(pivot_row, pivot, 1, axis=1)
        return rows - jnp.where((order > pivot)[:, None], column * inverse, 0.0) * pivot_row

    both = jnp.concatenate([matrix, jnp.eye(len(matrix), dtype=matrix.dtype)], axis=1)
    reduced = jax.lax.fori_loop(0, len(matrix), eliminate, both)
    pivots = jnp.diagonal(reduced)
    return (reduced[:, len(matrix) :] / jnp.sqrt(pivots)[:, None]).T


def positive_diagonal(matrix: Float[Array, "n n"]) -> Float[Array, "n n"]:
    """The matrix with 1 for each zero on its diagonal: unknowns that nothing depends on stay where they are."""
    return matrix + jnp.diag(jnp.where(jnp.diagonal(matrix) > 0, 0.0, 1.0).astype(matrix.dtype))
