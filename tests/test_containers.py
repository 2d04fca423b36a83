"""The image, the compose file and the Kubernetes manifests, looked at without running any container."""

import importlib.util
import os
import re
import shutil
import subprocess
import tomllib
from pathlib import Path
from unittest.mock import patch

import pytest
import yaml

from biasvar.cli import main

ROOT = Path(__file__).resolve().parent.parent
COMPOSE = ROOT / "docker-compose.yml"
MANIFESTS = ROOT / "workflows" / "kubernetes"
CORE = ("deployments.yaml", "study.yaml")
SECRET = re.compile(r"SECRET|TOKEN|PASSWORD|ACCESS_KEY")


def composed():
    return yaml.safe_load(COMPOSE.read_text())


def manifests(*names):
    paths = [MANIFESTS / name for name in names] or sorted(MANIFESTS.glob("*.yaml"))
    return [document for path in paths for document in yaml.safe_load_all(path.read_text())]


def pods(value):
    """Yield all that has containers, however deep it lies."""
    if isinstance(value, dict):
        if "containers" in value:
            yield value
        for inner in value.values():
            yield from pods(inner)


def containers():
    return [container for pod in pods({"all": dict(enumerate(manifests()))}) for container in pod["containers"]]


def words_of_compose():
    # What compose puts in the place of a variable that is not set: its default, which may contain another.
    nested = re.compile(r"\$\{\w+:-([^${}]*)\}")
    for service in composed()["services"].values():
        command = service["command"]
        while nested.search(command):
            command = nested.sub(r"\1", command)
        yield command.split()


def words_of_manifests():
    settings = next(document for document in manifests() if document["kind"] == "ConfigMap")["data"]
    for container in containers():
        yield [re.sub(r"\$\((\w+)\)", lambda name: settings.get(name[1], name[1]), word) for word in container["args"]]


def test_the_image_is_built_of_all_that_the_wheel_takes():
    kept = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    build = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    for path in [*build["packages"], *build["force-include"]]:
        assert kept & {path, *map(str, Path(path).parents)}, path


def run_tool(tool, *arguments, **options):
    if shutil.which(tool) is None:
        pytest.skip(f"{tool} is not installed")
    done = subprocess.run([tool, *map(str, arguments)], capture_output=True, text=True, check=False, **options)
    assert done.returncode == 0, done.stdout + done.stderr


class TestImage:
    def test_is_without_faults_of_style(self):
        run_tool("hadolint", ROOT / "Dockerfile")

    def test_runs_as_a_numbered_user(self):
        # By number, so that Kubernetes can tell that it is not root.
        assert re.findall(r"^USER (.*)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE) == ["1000"]

    def test_context_is_only_what_is_named(self):
        lines = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if not line.startswith("#")]
        assert lines[0] == "*"
        assert {line for line in lines[1:] if not line.startswith("!")} == {"**/__pycache__"}


class TestCompose:
    def test_is_understood_by_compose(self):
        run_tool("docker-compose", "--file", COMPOSE, "--profile", "study", "config", "--quiet", cwd=ROOT)

    def test_keeps_to_the_specification(self):
        run_tool("check-jsonschema", "--builtin-schema", "vendor.compose-spec", COMPOSE)

    def test_ports_are_open_to_this_machine_alone(self):
        ports = [port for service in composed()["services"].values() for port in service.get("ports", [])]
        assert ports == ["127.0.0.1:8786:8786", "127.0.0.1:8787:8787"]

    def test_credentials_are_passed_on_and_not_written(self):
        services = composed()["services"]
        for service in services.values():
            named = {name: value for name, value in service["environment"].items() if SECRET.search(name)}
            assert set(named.values()) <= {None}
        assert "AWS_SECRET_ACCESS_KEY" in services["worker"]["environment"]
        assert "AWS_SECRET_ACCESS_KEY" not in services["scheduler"]["environment"]

    def test_what_dies_comes_back_however_it_ended(self):
        services = composed()["services"]
        assert {name: service.get("restart") for name, service in services.items()} == {
            "scheduler": "always",
            "worker": "always",
            "study": None,
        }

    def test_health_checks_are_shell_commands(self):
        # Podman's Docker socket splits the words of the other form at their spaces.
        checks = [service.get("healthcheck", {}).get("test") for service in composed()["services"].values()]
        assert [check[0] for check in checks if check] == ["CMD-SHELL", "CMD-SHELL"]


class TestManifests:
    @pytest.mark.parametrize("document", manifests(*CORE), ids=lambda document: document["kind"])
    def test_core_kinds_keep_to_their_schema(self, document):
        kubernetes_validate = pytest.importorskip("kubernetes_validate", reason="kubernetes-validate is not installed")
        kubernetes_validate.validate(document, kubernetes_validate.latest_version(), strict=True)

    @pytest.mark.parametrize("document", manifests("operator.yaml"), ids=lambda document: document["kind"])
    def test_operators_kinds_keep_to_their_schema(self, document):
        jsonschema = pytest.importorskip("jsonschema", reason="jsonschema is not installed")
        jsonschema.validate(document, strict(operators_schema(document)))

    def test_credentials_come_from_a_secret(self):
        entries = [entry for container in containers() for entry in container.get("env", ())]
        named = [entry for entry in entries if SECRET.search(entry["name"])]
        assert len(named) == 6  # of the driver, and of the workers of either cluster
        assert all(set(entry) == {"name", "valueFrom"} and "secretKeyRef" in entry["valueFrom"] for entry in named)
        settings = [document["data"] for document in manifests() if document["kind"] == "ConfigMap"]
        assert not [name for data in settings for name in data if SECRET.search(name)]

    def test_pods_are_fenced_in(self):
        for pod in pods({"all": dict(enumerate(manifests()))}):
            assert pod["automountServiceAccountToken"] is False
            assert pod["securityContext"]["runAsNonRoot"] is True
            for container in pod["containers"]:
                assert container["securityContext"]["allowPrivilegeEscalation"] is False
                assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
        fence = next(document for document in manifests() if document["kind"] == "NetworkPolicy")
        for document in manifests():
            assert document["metadata"]["labels"].items() >= fence["spec"]["podSelector"]["matchLabels"].items()

    def test_all_is_one_image(self):
        assert {container["image"] for container in containers()} == {"registry.example.org/biasvar:latest"}

    def test_both_clusters_have_the_address_that_the_study_is_told(self):
        cluster = next(document for document in manifests("operator.yaml") if document["kind"] == "DaskCluster")
        service = next(document for document in manifests("deployments.yaml") if document["kind"] == "Service")
        assert cluster["metadata"]["name"] + "-scheduler" == service["metadata"]["name"] == "biasvar-scheduler"
        assert cluster["spec"]["scheduler"]["service"]["ports"] == service["spec"]["ports"]
        study = next(document for document in manifests("study.yaml") if document["kind"] == "Job")
        assert study["spec"]["template"]["spec"]["containers"][0]["args"][-1] == "tcp://biasvar-scheduler:8786"


class TestCommandLines:
    @pytest.mark.parametrize("words", [*words_of_compose(), *words_of_manifests()], ids=" ".join)
    def test_are_understood(self, words):
        program, name, *options = words
        commands = main.commands if program == "biasvar" else dask_commands()
        with patch.dict(os.environ):  # Dask loads what is named by --preload, and that sets some
            context = commands[name].make_context(name, options)
        if name == "worker":  # an option that Dask does not know would be its scheduler
            assert context.params["scheduler"] in (None, "tcp://scheduler:8786", "tcp://biasvar-scheduler:8786")


def dask_commands():
    from distributed.cli import dask_scheduler, dask_worker

    return {"scheduler": dask_scheduler.main, "worker": dask_worker.main}


def operators_schema(document):
    """Return what the operator's own definition says of a document's kind, read without importing the operator."""
    package = importlib.util.find_spec("dask_kubernetes")
    if package is None:
        pytest.skip("dask-kubernetes, whose definitions these are, is not installed")
    folder = Path(package.submodule_search_locations[0], "operator/deployment/helm/dask-kubernetes-operator/crds")
    definition = yaml.safe_load((folder / f"{document['kind'].lower()}.yaml").read_text())
    group, version = document["apiVersion"].split("/")
    assert definition["spec"]["group"] == group
    schema = next(found for found in definition["spec"]["versions"] if found["name"] == version)["schema"]
    return schema["openAPIV3Schema"] | {"properties": schema["openAPIV3Schema"]["properties"] | ANY_OBJECT}


ANY_OBJECT = {"apiVersion": {"type": "string"}, "kind": {"type": "string"}, "metadata": {"type": "object"}}


def strict(schema):
    """Return a schema that refuses unknown fields, which Kubernetes would silently drop."""
    if isinstance(schema, list):
        return [strict(inner) for inner in schema]
    if not isinstance(schema, dict):
        return schema
    stricter = {key: strict(inner) for key, inner in schema.items()}
    if isinstance(schema.get("properties"), dict) and "additionalProperties" not in schema:
        stricter["additionalProperties"] = False
    return stricter
