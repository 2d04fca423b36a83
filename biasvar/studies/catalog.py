"""Studies in YAML files: those that come with biasvar, by name, and anyone's, by path."""

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from biasvar.errors import StudyError
from biasvar.fields import Json
from biasvar.studies.components import imported
from biasvar.studies.files import data_folder
from biasvar.studies.origins import STATE_AGAIN, restored
from biasvar.studies.public import public_classes
from biasvar.studies.study import Study
from biasvar.studies.text import read_yaml


def _kind(written: object) -> type[Study[Any]]:
    """Return a kind of study by its name, or a user's own by ``module:Class``.

    Raises
    ------
    StudyError
        If there is none of that name, or it cannot be imported.
    """
    known = {each.kind: each for each in public_classes("studies", Study).values()}
    if isinstance(written, str) and written in known:
        return known[written]
    if ":" not in str(written):
        raise StudyError(
            f"kind: unknown kind {written!r}; choose one of {', '.join(known)}, or write module:Class of your own"
        )
    try:
        found = imported(str(written))
    except StudyError as error:
        raise type(error)(f"kind: {error}") from error
    if not (isinstance(found, type) and issubclass(found, Study)):
        raise StudyError(f"kind: {written!r} is no kind of study; derive its class from biasvar.Study")
    return found


def bundled() -> dict[str, Path]:
    """Return the studies that come with biasvar, by name.

    Examples
    --------
    >>> "two-point-sine" in bundled()
    True
    """
    return {path.stem: path for path in sorted(data_folder("studies").glob("*.yaml"))}


def load(study: str | Path, changes: Sequence[str] = ()) -> Study[Any]:
    """Load a study from a YAML file, or a bundled one by name.

    Parameters
    ----------
    study : str or path
        Name of a bundled study, path of a YAML file, or ``-`` for standard input.
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
    if not isinstance(study, str | Path):
        raise StudyError(f"study: expected a name or the path of a YAML file, got {study!r}")
    title, text = _text(study)
    try:
        fields = read_yaml(text)
    except StudyError as error:
        raise StudyError(f"study {title}: {error}") from error
    if not isinstance(fields, dict):
        raise StudyError(f"study {title}: expected fields such as 'name: ...', got {type(fields).__name__}")
    return _made(fields, changes, title)


def from_json(stored: Json, supplement: Json, changes: Sequence[str] = (), title: str = "in JSON") -> Study[Any]:
    """Make the study whose canonical JSON is ``stored``, with some fields set instead.

    Parameters
    ----------
    stored : mapping
        What :meth:`to_json` of a study returned.
    supplement : mapping
        What its :meth:`supplement` returned: the order of labels, and where a user's objects, and a kind of study
        of a user's, are imported from.
    changes : sequence of str
        As for :func:`load`.
    title : str
        How errors call the study.

    Raises
    ------
    StudyError
        If what is a user's cannot be imported again, or is not what it was.

    Examples
    --------
    >>> study = load("ravine")
    >>> from_json(study.to_json(), study.supplement()) == study
    True
    """
    if supplement.get("kind", stored["kind"]) is None:
        raise StudyError(
            f"study {title}: kind: {stored['kind']!r} is of a script or a session, not of a module to import it from; "
            f"{STATE_AGAIN}"
        )
    kind = supplement.get("kind", stored["kind"])
    try:
        fields = in_order({**_kind(kind).without_defaults({**stored, "kind": kind})}, supplement)
    except StudyError as error:
        raise type(error)(f"study {title}: {error}") from error
    for change in changes:
        _apply(fields, change)
    try:
        fields = restored(fields, "", supplement.get("imports", {}))
    except StudyError as error:
        raise StudyError(f"study {title}: {error}") from error
    return _made(fields, (), title)


def in_order(stored: Mapping[str, Any], supplement: Mapping[str, Any]) -> dict[str, Any]:
    """Return a study's canonical JSON as its author stated it: labels in order, data with the place they come from."""
    fields: dict[str, Any] = json.loads(json.dumps(stored))
    for name, labels in supplement.get("labels", {}).items():
        fields[name] = {label: fields[name][label] for label in labels if label in fields[name]} | fields[name]
    if source := supplement.get("source"):
        fields["data"] = {**fields["data"], "source": source}
    return fields


def _made(fields: dict[str, Any], changes: Sequence[str], title: str) -> Study[Any]:
    for change in changes:
        _apply(fields, change)
    try:
        return _kind(fields.pop("kind", "risk"))(**{str(name): value for name, value in fields.items()})
    except StudyError as error:
        raise type(error)(f"study {title}: {error}") from error


def is_file_or_name(study: str | Path) -> bool:
    """Tell whether this is how a YAML file, standard input or a bundled study is named."""
    path = Path(study).expanduser()
    return str(study) in {"-", *bundled()} or path.suffix in (".yaml", ".yml") or path.is_file()


def _text(study: str | Path) -> tuple[str, str]:
    """Return what a study's file is called in errors, and what is in it."""
    if str(study) == "-":
        return "-", sys.stdin.read()
    path = Path(study).expanduser()
    if not (path.suffix in (".yaml", ".yml") or path.is_file()):
        if str(study) not in bundled():
            known = ", ".join(bundled())
            raise StudyError(f"study {str(study)!r}: is no file, store or bundled study; choose one of {known}")
        path = bundled()[str(study)]
    elif not path.is_file():
        raise StudyError(f"study {path}: there is no such file")
    try:
        return str(study), path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise StudyError(f"study {path}: cannot be read: {error}") from error


def _apply(fields: dict[str, Any], change: str) -> None:
    name, equals, text = change.partition("=")
    if not equals or not name:
        raise StudyError(f"--set {change!r}: expected key=value")
    try:
        value = read_yaml(text)
    except StudyError as error:
        raise StudyError(f"--set {change!r}: {str(error).removeprefix('line 1: ')}") from error
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
    for other in _kind(fields.get("kind", "risk")).instead_of.get(name.split(".")[0], ()):
        fields.pop(other, None)
