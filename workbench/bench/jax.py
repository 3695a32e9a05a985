"""jax-privacy 2.0 on the problems that `bench mechanisms` times: a script of its own, for a Python that has it.

It prints one line when it has imported what it needs and one with the result: seconds, and the error (sensitivity²
times the mean variance of a prefix sum).
"""

from __future__ import annotations

import json
import sys
import time


def main(problem: str, horizon: int) -> None:
    """Solve one problem and print how long it took."""
    import jax
    import jax.numpy as jnp
    from jax_privacy.matrix_factorization import buffered_toeplitz, dense, toeplitz

    jax.config.update("jax_enable_x64", True)
    print("ready", flush=True)
    started = time.perf_counter()
    match problem:
        case "buffered-toeplitz":
            coefficients = buffered_toeplitz.optimize(n=horizon, error="mean").toeplitz_coefs(horizon)
        case "toeplitz":
            coefficients = toeplitz.optimize_banded_toeplitz(horizon, horizon)
        case _:
            coefficients = dense.optimize(horizon)
    jax.block_until_ready(coefficients)
    seconds = time.perf_counter() - started
    if coefficients.ndim == 2:
        norms = jnp.max(jnp.sum(coefficients**2, axis=0))
        error = jnp.mean(dense.per_query_error(strategy_matrix=coefficients)) * norms
    else:
        error = toeplitz.loss(coefficients, horizon)
    print(json.dumps({"seconds": seconds, "error": float(error)}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
