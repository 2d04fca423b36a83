"""Products and factors of small matrices against NumPy's, and equal in bits wherever in a stack a matrix stands."""

import numpy as np
import pytest

from biasvar.montecarlo import linear_algebra

RNG = np.random.default_rng(11)
TALL = RNG.standard_normal((50, 9, 4))
POSITIVE = np.swapaxes(TALL, 1, 2) @ TALL + 0.01 * np.eye(4)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ((3, 4), (4, 5)),
        ((4,), (4, 5)),
        ((3, 4), (4,)),
        ((7, 3, 4), (4,)),
        ((7, 3, 4), (7, 4, 5)),
        ((3, 4), (7, 4, 1)),
        ((1, 3, 4), (7, 4, 2)),
        ((2, 7, 3, 9), (7, 9, 1)),
        ((0, 3, 4), (4, 5)),
        ((0, 4), (4, 5)),
        ((3, 0), (0, 5)),
        ((70,), (70,)),
    ],
)
def test_products_are_numpys(one, other):
    a, b = RNG.standard_normal(one), RNG.standard_normal(other)
    assert np.shape(linear_algebra.matmul(a, b)) == np.shape(a @ b)
    assert linear_algebra.matmul(a, b) == pytest.approx(a @ b, rel=1e-12, abs=1e-14)


def test_shapes_that_do_not_match_are_refused():
    with pytest.raises(ValueError, match="do not match"):
        linear_algebra.matmul(np.ones((2, 3)), np.ones((2, 3)))


def test_factors():
    q, r = linear_algebra.qr(TALL)
    assert q @ r == pytest.approx(TALL, abs=1e-14)
    assert np.swapaxes(q, 1, 2) @ q == pytest.approx(np.broadcast_to(np.eye(4), (50, 4, 4)), abs=1e-14)
    lower = linear_algebra.cholesky(POSITIVE)
    assert lower == pytest.approx(np.linalg.cholesky(POSITIVE), rel=1e-11, abs=1e-12)
    b = RNG.standard_normal((50, 4, 2))
    assert linear_algebra.solve_upper(r, b) == pytest.approx(np.linalg.solve(r, b), rel=1e-9)
    assert linear_algebra.solve_positive(POSITIVE, b) == pytest.approx(np.linalg.solve(POSITIVE, b), rel=1e-9)


def test_columns_that_others_span_have_no_coefficient():
    a = TALL[0].copy()
    a[:, 2] = a[:, 0] - 3 * a[:, 1]
    q, r = linear_algebra.qr(a[None])
    assert r[0, 2, 2] == 0
    assert not q[0, :, 2].any()
    b = RNG.standard_normal(9)
    found = linear_algebra.lstsq(a, b)
    assert found[2] == 0
    assert a @ found == pytest.approx(a @ np.linalg.lstsq(a, b)[0], abs=1e-13)


@pytest.mark.parametrize("matrices", [POSITIVE, np.swapaxes(TALL[:, :2], 1, 2) @ TALL[:, :2], np.zeros((1, 3, 3))])
def test_eigenvalues_and_vectors(matrices):
    values, vectors = linear_algebra.eigh(matrices)
    assert values == pytest.approx(np.linalg.eigvalsh(matrices), rel=1e-12, abs=1e-12)
    assert vectors * values[:, None] @ np.swapaxes(vectors, 1, 2) == pytest.approx(matrices, abs=1e-12)
    one = np.broadcast_to(np.eye(matrices.shape[1]), matrices.shape)
    assert np.swapaxes(vectors, 1, 2) @ vectors == pytest.approx(one, abs=1e-13)


def test_bits_do_not_depend_on_the_stack():
    for function in (linear_algebra.qr, linear_algebra.eigh):
        whole, alone = function(POSITIVE), function(POSITIVE[17:18])
        for of_all, of_one in zip(whole, alone, strict=True):
            assert np.array_equal(of_all[17], of_one[0])
    assert np.array_equal(
        linear_algebra.matmul(POSITIVE, TALL[0].T)[17], linear_algebra.matmul(POSITIVE[17], TALL[0].T)
    )
