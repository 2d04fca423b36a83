"""Numbers that are too small to matter: processors take a hundred times as long for those below 1e-308.

After convergence theta and state fall for ever, and one such number slows down all that are computed beside it.
"""

from biasvar.compiling import njit

LEAST = 1e-150  # its square is no such number either
LEAST_SQUARE = 1e-306


@njit(cache=True, nogil=True, error_model="numpy")
def flushed(x):  # type: ignore[no-untyped-def]
    """Return x, but zero if it is below 1e-150."""
    return 0.0 if abs(x) < LEAST else x


@njit(cache=True, nogil=True, error_model="numpy")
def held(square):  # type: ignore[no-untyped-def]
    """Return a mean square with 1e-306 added, which changes no larger one: rules divide by its root."""
    return square + LEAST_SQUARE
