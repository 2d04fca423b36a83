"""Plan, graph, store, run: the only rooms that know Dask and Zarr."""
