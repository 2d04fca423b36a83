"""What a store in S3 costs: obstore against s3fs, on this machine, where a server (moto) runs in another process.

pip install -e '.[s3]' 's3fs' 'moto[s3,server]', then: python benchmarks/stores.py
"""

import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

os.environ |= {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_DEFAULT_REGION": "us-east-1"}

import fsspec
import numpy as np
from zarr.storage import FsspecStore

import biasvar as bv
from biasvar.execution.backends import Location
from biasvar.execution.store import Store
from biasvar.studies.base import Chunk

CHUNKS, BLOCKS_PER_CHUNK, ROUNDS = 200, 16, 3


def serve():
    """Start a server of its own; return it and its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    address = f"http://127.0.0.1:{port}"
    while True:
        try:
            urllib.request.urlopen(urllib.request.Request(f"{address}/bench", method="PUT"))
            return server, address
        except OSError:
            time.sleep(0.1)


def with_s3fs(url, address):
    """Return a location whose Zarr store is s3fs'."""
    location = Location.of(url)
    files = fsspec.filesystem("s3", asynchronous=True, endpoint_url=address, skip_instance_cache=True)
    location.__dict__["zarr"] = FsspecStore(files, path=url.removeprefix("s3://"))
    return location


def measure(location):
    """Return milliseconds per chunk of: writing, asking which are there, reading all and checking."""
    study = bv.RiskStudy(
        name="stores",
        target=bv.Sine(),
        inputs=bv.Uniform(-1, 1),
        hypotheses={"H0": bv.Polynomial(0), "H1": bv.Polynomial(1)},
        n_train=[2],
        replicates=CHUNKS * BLOCKS_PER_CHUNK * 16,
        block_size=16,
    )
    (group,) = study.groups()
    store = Store(location)
    store.claim(study)
    records = store.create(group, CHUNKS * BLOCKS_PER_CHUNK, BLOCKS_PER_CHUNK, study.record_coordinates(group))
    shape = (len(group.cells), BLOCKS_PER_CHUNK)
    content = Chunk(np.random.default_rng(0).normal(size=(*shape, group.record_size)), np.full(shape, "", dtype=object))

    return (
        clock(lambda: [records.write(chunk, content, study.block_size) for chunk in range(CHUNKS)]),
        clock(lambda: records.missing()),
        clock(lambda: list(records.read_all())),
    )


def bare(folder):
    """Return milliseconds per chunk of three small files, as a chunk has, written under another name and renamed; of
    listing one of them, and of reading all three.
    """
    folder = Path(folder)
    folder.mkdir()

    def write(chunk):
        for part in range(3):
            draft = folder / f"{chunk}-{part}.partial"
            draft.write_bytes(bytes(8 * 16))
            draft.rename(folder / f"{chunk}-{part}")

    return (
        clock(lambda: [write(chunk) for chunk in range(CHUNKS)]),
        clock(lambda: [name for name in os.listdir(folder) if name.endswith("-0")]),
        clock(lambda: [(folder / f"{chunk}-{part}").read_bytes() for chunk in range(CHUNKS) for part in range(3)]),
    )


def clock(action):
    """Return milliseconds per chunk."""
    start = time.perf_counter()
    action()
    return 1e3 * (time.perf_counter() - start) / CHUNKS


def main():
    server, address = serve()
    os.environ |= {"AWS_ENDPOINT_URL": address, "AWS_ALLOW_HTTP": "true"}
    try:
        with tempfile.TemporaryDirectory() as folder:
            kinds = {
                "three bare files": lambda i: bare(f"{folder}/{i}"),
                "local disk": lambda i: measure(Location.of(f"{folder}/{i}.zarr")),
                "S3 by obstore": lambda i: measure(Location.of(f"s3://bench/obstore-{i}")),
                "S3 by s3fs": lambda i: measure(with_s3fs(f"s3://bench/s3fs-{i}", address)),
            }
            times = {name: [] for name in kinds}
            for i in range(ROUNDS):  # turn by turn, for the machine is not always as fast
                for name, make in kinds.items():
                    times[name].append(make(i))
    finally:
        server.terminate()
    print(f"medians of {ROUNDS}, ms per chunk      write    list    read   and in times bare files")
    for name, rows in times.items():
        ratios = np.array(rows) / np.array(times["three bare files"])
        shown = [
            *(f"{ms:8.3f}" for ms in np.median(rows, axis=0)),
            *(f"{each:8.1f}" for each in np.median(ratios, axis=0)),
        ]
        print(f"{name:28}" + "".join(shown))


if __name__ == "__main__":
    main()
