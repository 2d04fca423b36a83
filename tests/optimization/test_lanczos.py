"""Lanczos against dense eigenvalues."""

import numpy as np
import pytest

import biasvar as bv
from biasvar.optimization.lanczos import lanczos


def symmetric(count, dim, seed=0):
    a = np.random.default_rng(seed).normal(size=(count, dim, dim))
    return a + a.transpose(0, 2, 1)


def start(count, dim):
    return np.random.default_rng(1).normal(size=(count, dim))


@pytest.mark.parametrize("dim", [1, 2, 3, 5, 16])
def test_as_many_steps_as_parameters_give_the_eigenvalues(dim):
    a = symmetric(50, dim)
    found = lanczos(lambda v: np.einsum("kij,kj->ki", a, v), start(50, dim))
    values, vectors = np.linalg.eigh(a)
    assert np.allclose(found.least, values[:, 0])
    assert np.allclose(found.greatest, values[:, -1])
    assert np.allclose(np.abs((found.least_vector * vectors[:, :, 0]).sum(axis=1)), 1)


def test_fewer_steps_give_values_between_the_extremes():
    a = symmetric(200, 60)
    values = np.linalg.eigvalsh(a)
    far = values[:, -1] - values[:, 0]
    for steps in (2, 5, 16, 30):
        found = lanczos(lambda v: np.einsum("kij,kj->ki", a, v), start(200, 60), steps)
        assert (found.least >= values[:, 0] - 1e-12 * far).all()
        assert (found.greatest <= values[:, -1] + 1e-12 * far).all()
    assert (found.least - values[:, 0] < 1e-2 * far).all()
    along = np.einsum("ki,kij,kj->k", found.least_vector, a, found.least_vector)
    assert np.allclose(along, found.least)


@pytest.mark.parametrize("rank", [0, 1, 3])
def test_bases_that_end_early_leave_no_spurious_zeros(rank):
    rng = np.random.default_rng(0)
    factors = np.linalg.qr(rng.normal(size=(20, 30, max(rank, 1))))[0][..., :rank]
    matrices = np.eye(30) + factors @ factors.transpose(0, 2, 1)  # eigenvalues 1 and 2
    found = lanczos(lambda v: np.einsum("kij,kj->ki", matrices, v), start(20, 30))
    assert np.allclose(found.least, 1)
    assert np.allclose(found.greatest, 2 if rank else 1)


def test_what_is_not_finite_spoils_its_own_matrix_alone():
    a = symmetric(4, 6)
    whole = lanczos(lambda v: np.einsum("kij,kj->ki", a, v), start(4, 6))
    a[2] = np.nan
    found = lanczos(lambda v: np.einsum("kij,kj->ki", a, v), start(4, 6))
    assert np.isnan(found.least).tolist() == [False, False, True, False]
    assert np.array_equal(np.delete(found.least, 2), np.delete(whole.least, 2))


def test_hessians_of_objectives_at_many_points():
    risk = bv.EmpiricalRisk(data="diabetes", loss="squared", penalty=0.1)
    theta = np.random.default_rng(0).normal(size=(3, risk.dim))
    found = lanczos(lambda v: risk.hessian_product(theta, v), start(3, risk.dim))
    hessian = risk.hessian_product(np.zeros((risk.dim, risk.dim)), np.eye(risk.dim))
    values = np.linalg.eigvalsh(hessian)
    assert np.allclose(found.least, values[0])
    assert np.allclose(found.greatest, values[-1])
