"""Draws, moments, intervals and tails: numbers only (numpy, scipy, numba)."""
