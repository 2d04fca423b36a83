"""Disks that are full or read-only: file systems in memory, mounted and filled for a test."""

import subprocess
from contextlib import contextmanager

import pytest

import biasvar as bv

from .pieces import SMALL_STUDY, biasvar, check, require, require_root, stored_chunks

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(3600)]


@contextmanager
def mounted(folder, size):
    """Mount an empty file system of a size, in memory."""
    require("mount", "mount")
    require_root()
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "biasvar-test", folder], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


def remount(folder, options):
    subprocess.run(["mount", "-o", f"remount,{options}", folder], check=True)


def test_a_full_disk_is_told_in_a_line_and_nothing_is_lost(processes, tmp_path, small_reference):
    with mounted(tmp_path / "disk", "800k") as disk:
        store = disk / "store.zarr"
        command = biasvar("run", *SMALL_STUDY, "--store", store, "--workers", 2)
        full = processes.run(command)
        assert full.returncode == 2, full.stderr
        assert "cannot be written: No space left on device" in full.stderr.splitlines()[-1]
        assert "Traceback" not in full.stderr
        kept = stored_chunks(store)
        assert kept > 0
        again = processes.run(command)
        assert (again.returncode, stored_chunks(store) >= kept) == (2, True)
        remount(disk, "size=64m")
        assert processes.run(command).returncode == 0
        check(store, small_reference)


def test_a_read_only_store_can_be_read_and_a_run_says_that_it_cannot_write(processes, tmp_path):
    with mounted(tmp_path / "disk", "64m") as disk:
        store = disk / "store.zarr"
        assert processes.run(biasvar("run", "two-point-sine", "--store", store)).returncode == 0
        before = bv.digest(store)
        remount(disk, "ro")
        for verb in ("show", "status", "verify", "digest", "watch"):
            done = processes.run(biasvar(verb, store))
            assert done.returncode == 0, (verb, done.stderr)
        more = biasvar("run", "two-point-sine", "--set", "n_train=[2, 5, 10]", "--store", store)
        refused = processes.run(more)
        assert (refused.returncode, len(refused.stderr.splitlines())) == (2, 1), refused.stderr
        assert "Read-only file system" in refused.stderr
        remount(disk, "rw")
        assert bv.digest(store) == before
        assert processes.run(more).returncode == 0
