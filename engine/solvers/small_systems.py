"""Small positive definite systems, thousands at a time.

Gauss-Jordan elimination without pivoting, which positive definite matrices do not need (Higham, "Accuracy and stability
of numerical algorithms", 2002, theorem 10.3 and section 14.4). Written as whole-matrix updates, it vectorises over any
batch.

It also avoids LAPACK in batched code. jaxlib 0.10's batched LAPACK calls on a CPU wait inside the thread pool for tasks
of that same pool, so two batches that are computed at once (two threads of a server, say) wait for ever.
"""

from collections.abc import Mapping, Sequence

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

# Logarithms are the most expensive operation, so pivots are multiplied in groups of four. The product of four pivots,
# each at least 1, stays within float32 up to 4e9 each.
_PIVOTS_PER_LOG = 4


def _row_and_column(rows: Float[Array, "n m"], pivot: Array) -> tuple[Float[Array, "1 m"], Float[Array, "n 1"]]:
    take = jax.lax.dynamic_slice_in_dim
    return take(rows, pivot, 1, axis=0), take(rows, pivot, 1, axis=1)


def _eliminate(
    rows: Float[Array, "n m"], pivot: Array, smallest: Float[Array, ""] | None
) -> tuple[Float[Array, "n m"], Float[Array, "1 1"]]:
    """The rows with one unknown eliminated from all others, and the pivot."""
    pivot_row, column = _row_and_column(rows, pivot)
    size = jax.lax.dynamic_slice_in_dim(pivot_row, pivot, 1, axis=1)
    size = size if smallest is None else jnp.maximum(size, smallest)
    inverse = 1 / size
    # The pivot's own row is divided by the pivot: one update serves all rows.
    own = (jnp.arange(len(rows)) == pivot)[:, None]
    return rows - jnp.where(own, 1 - inverse, column * inverse) * pivot_row, size


def solve_positive(matrix: Float[Array, "n n"], right: Float[Array, "n k"]) -> Float[Array, "n k"]:
    """matrix⁻¹ right, for a positive definite matrix; not finite if the matrix is not positive definite."""
    both = jnp.concatenate([matrix, right], axis=1)
    # Two eliminations per iteration of the loop save a copy between iterations.
    rows = jax.lax.fori_loop(0, len(matrix), lambda pivot, rows: _eliminate(rows, pivot, None)[0], both, unroll=2)
    return rows[:, len(matrix) :]


def solve_and_log_determinant(
    matrix: Float[Array, "n n"], right: Float[Array, "n k"], smallest: Float[Array, ""]
) -> tuple[Float[Array, "n k"], Float[Array, ""]]:
    """matrix⁻¹ right and log|matrix|, for a positive definite matrix.

    Args:
        smallest: a lower bound of the eigenvalues, and so of the pivots, which rounding may take below 0.
    """

    def step(pivot: Array, carry: tuple[Array, Array]) -> tuple[Array, Array]:
        rows, log_determinant = carry
        rows, size = _eliminate(rows, pivot, smallest)
        return rows, log_determinant + jnp.log(size[0, 0])

    both = jnp.concatenate([matrix, right], axis=1)
    rows, log_determinant = jax.lax.fori_loop(0, len(matrix), step, (both, jnp.zeros((), both.dtype)))
    return rows[:, len(matrix) :], log_determinant


def solve_and_weigh(
    matrix: Float[Array, "n n"], right: Float[Array, " n"]
) -> tuple[Float[Array, " n"], Float[Array, ""], Float[Array, ""]]:
    """M⁻¹b, bᵀM⁻¹b and log|M|, for a matrix without eigenvalues below 1.

    The quadratic is the sum of b_k²/d_k over pivots, which are positive: nothing cancels.
    """

    def step(pivot: Array, carry: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        rows, quadratic, log_determinant = carry
        own = jax.lax.dynamic_slice_in_dim(rows[:, -1], pivot, 1)
        rows, size = _eliminate(rows, pivot, jnp.ones((), rows.dtype))
        return rows, quadratic + own[0] ** 2 / size[0, 0], log_determinant + jnp.log(size[0, 0])

    both = jnp.concatenate([matrix, right[:, None]], axis=1)
    zero = jnp.zeros((), both.dtype)
    rows, quadratic, log_determinant = jax.lax.fori_loop(0, len(matrix), step, (both, zero, zero))
    return rows[:, -1], quadratic, log_determinant


def whitening_factor(matrix: Float[Array, "n n"]) -> Float[Array, "n n"]:
    """W with Wᵀ matrix W = 1 for a positive definite matrix: L⁻ᵀ of its Cholesky factor.

    Forward elimination turns (matrix, 1) into (D Lᵀ, L⁻¹), with L of unit diagonal; rows are divided by √D.
    """
    order = jnp.arange(len(matrix))

    def eliminate(pivot: Array, rows: Float[Array, "n m"]) -> Float[Array, "n m"]:
        pivot_row, column = _row_and_column(rows, pivot)
        inverse = 1 / jax.lax.dynamic_slice_in_dim(pivot_row, pivot, 1, axis=1)
        return rows - jnp.where((order > pivot)[:, None], column * inverse, 0.0) * pivot_row

    both = jnp.concatenate([matrix, jnp.eye(len(matrix), dtype=matrix.dtype)], axis=1)
    reduced = jax.lax.fori_loop(0, len(matrix), eliminate, both)
    pivots = jnp.diagonal(reduced)
    return (reduced[:, len(matrix) :] / jnp.sqrt(pivots)[:, None]).T


def log_gaussian_integral(
    matrix: Mapping[tuple[int, int], Float[Array, "*n"]], right: Sequence[Float[Array, "*n"]]
) -> Float[Array, "*n"]:
    """log ∫ N(x; 0, I) exp(bᵀx − ½ xᵀΛx) dx = ½ bᵀ(I + Λ)⁻¹b − ½ log|I + Λ|, in nats.

    With I + Λ = L D Lᵀ by elimination of the lower triangle, bᵀ(I + Λ)⁻¹b is the sum of the eliminated b_k²/d_k, and no
    solution is needed. All operations are elementwise over any number of problems: about 500 for ten unknowns.

    Args:
        matrix: entries of I + Λ at (row, column), row >= column, with Λ positive semi-definite.
        right: entries of b.
    """
    matrix, right = dict(matrix), list(right)
    count = len(right)
    quadratic = jnp.zeros((), right[0].dtype)
    determinants = [jnp.ones((), right[0].dtype)] * (-(-count // _PIVOTS_PER_LOG))
    for pivot in range(count):
        # Rounding must not take a pivot below 1, the smallest eigenvalue.
        size = jnp.maximum(matrix[pivot, pivot], 1.0)
        inverse = 1 / size
        determinants[pivot // _PIVOTS_PER_LOG] = determinants[pivot // _PIVOTS_PER_LOG] * size
        quadratic = quadratic + right[pivot] * right[pivot] * inverse
        for row in range(pivot + 1, count):
            factor = matrix[row, pivot] * inverse
            right[row] = right[row] - factor * right[pivot]
            for column in range(pivot + 1, row + 1):
                matrix[row, column] = matrix[row, column] - factor * matrix[column, pivot]
    return 0.5 * (quadratic - sum(jnp.log(determinant) for determinant in determinants))


def lower_triangle(size: int) -> list[tuple[int, int]]:
    """(row, column) of all entries on and below the diagonal."""
    return [(row, column) for row in range(size) for column in range(row + 1)]


def positive_diagonal(matrix: Float[Array, "n n"]) -> Float[Array, "n n"]:
    """The matrix with 1 for each zero on its diagonal: unknowns without influence keep their values."""
    return matrix + jnp.diag(jnp.where(jnp.diagonal(matrix) > 0, 0.0, 1.0).astype(matrix.dtype))
