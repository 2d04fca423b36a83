"""Studies in YAML files: those that come with biasvar, by name, and anyone's, by path."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from biasvar.errors import StudyError
from biasvar.studies.optimizer import OptimizerStudy
from biasvar.studies.risk import RiskStudy

KINDS: dict[str, type[RiskStudy | OptimizerStudy]] = {"risk": RiskStudy, "optimizer": OptimizerStudy}


def bundled() -> dict[str, Path]:
    """Return the studies that come with biasvar, by name.

    Examples
    --------
    >>> "two-point-sine" in bundled()
    True
    """
    return {path.stem: path for path in sorted(_folder().glob("*.yaml"))}


def load(study: str | Path, changes: Sequence[str] = ()) -> RiskStudy | OptimizerStudy:
    """Load a study from a YAML file, or a bundled one by name.

    Parameters
    ----------
    study : str or path
        Name of a bundled study, or path of a YAML file.
    changes : sequence of str
        Fields to set instead of the file's, as ``key=value`` with YAML values; dots lead into nested fields:
        ``"hypotheses.H3.Polynomial.degree=3"``.

    Raises
    ------
    StudyError
        If there is no such study, the file is no YAML, or a field is wrong.

    Examples
    --------
    >>> load("two-point-sine", ["seed=7"]).seed
    7
    """
    path = _find(study)
    try:
        fields = _read_yaml(path.read_text())
    except yaml.YAMLError as error:
        raise StudyError(f"study {path}: is not YAML: {' '.join(str(error).split())}") from error
    except (OSError, UnicodeDecodeError) as error:
        raise StudyError(f"study {path}: cannot be read: {error}") from error
    if not isinstance(fields, dict):
        raise StudyError(f"study {path}: expected fields such as 'name: ...', got {type(fields).__name__}")
    for change in changes:
        _apply(fields, change)
    kind = fields.pop("kind", "risk")
    if kind not in KINDS:
        raise StudyError(f"study {path}: kind: unknown kind {kind!r}; choose one of {', '.join(KINDS)}")
    try:
        return KINDS[kind](**{str(name): value for name, value in fields.items()})
    except StudyError as error:
        raise type(error)(f"study {path.stem}: {error}") from error


def _folder() -> Path:
    package = Path(__file__).resolve().parent.parent
    installed = package / "data" / "studies"
    return installed if installed.is_dir() else package.parent / "data" / "studies"


def _find(study: str | Path) -> Path:
    path = Path(study)
    if path.suffix in (".yaml", ".yml") or path.is_file():
        if not path.is_file():
            raise StudyError(f"study {path}: there is no such file")
        return path
    known = bundled()
    if str(study) not in known:
        raise StudyError(
            f"study {str(study)!r}: is neither a file nor a bundled study; choose one of {', '.join(known)}"
        )
    return known[str(study)]


def _apply(fields: dict[str, Any], change: str) -> None:
    name, equals, text = change.partition("=")
    if not equals or not name:
        raise StudyError(f"--set {change!r}: expected key=value")
    try:
        value = _read_yaml(text)
    except yaml.YAMLError as error:
        raise StudyError(f"--set {change!r}: the value is not YAML") from error
    *parents, last = name.split(".")
    place: Any = fields
    for parent in parents:
        if isinstance(place.get(parent), str):
            place[parent] = {place[parent]: {}}
        place = place.setdefault(parent, {})
        if place is None or not isinstance(place, Mapping):
            raise StudyError(f"--set {change!r}: {parent} has no fields")
    if value is None:
        place.pop(last, None)
    else:
        place[last] = value
    instead = {"replicates": ("precision", "max_replicates"), "precision": ("replicates",)}
    for other in instead.get(name.split(".")[0], ()):  # one stands for the other
        fields.pop(other, None)


class _Loader(yaml.SafeLoader):
    """YAML whose floats are those of YAML 1.2: PyYAML takes 1e-4 for text."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?(\d+(\.\d*)?|\.\d+)[eE][-+]?\d+$"), list("-+0123456789.")
)


def _read_yaml(text: str) -> Any:
    return yaml.load(text, Loader=_Loader)
