"""Fields of studies in YAML, read without surprises: what another reader would take for something else is refused."""

import re
from collections.abc import Hashable, Mapping
from typing import Any

import yaml

from biasvar.errors import StudyError

MAX_DEPTH = 64

#: Integers as YAML 1.1 has them that are not what they look like: 010 is eight, 1:30 is ninety.
_SURPRISING = re.compile(r"[-+]?(0[0-7_]+|[1-9][0-9_]*(:[0-5]?[0-9])+)")


class _Loader(yaml.SafeLoader):
    """YAML whose floats are those of YAML 1.2 (PyYAML takes 1e-4 for text), with each key once, and nothing deep."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> Any:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise StudyError(
                f"line {self.line + 1}: is nested more than {MAX_DEPTH} deep; a study needs no more than 8"
            )
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node

    def compose_mapping_node(self, anchor: dict[Any, yaml.Node]) -> yaml.MappingNode:
        node: yaml.MappingNode = super().compose_mapping_node(anchor)
        seen: dict[Hashable, int] = {}
        for key, _ in node.value:
            name, line = (key.tag, str(key.value)), key.start_mark.line + 1
            if name in seen:
                raise StudyError(f"line {line}: {key.value!r} is given twice, first in line {seen[name]}; keep one")
            seen[name] = line
        return node

    def construct_yaml_int(self, node: yaml.ScalarNode) -> int:
        value = int(super().construct_yaml_int(node))
        if _SURPRISING.fullmatch(node.value):
            plain = node.value.lstrip("+-0_") or "0"
            instead = f"{value}, or {plain} if that is meant" if ":" not in plain else f"{value}, or quote it as text"
            raise StudyError(f"line {node.start_mark.line + 1}: YAML takes {node.value} for {value}; write {instead}")
        return value


_Loader.add_constructor("tag:yaml.org,2002:int", _Loader.construct_yaml_int)
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?(\d+(\.\d*)?|\.\d+)[eE][-+]?\d+$"), list("-+0123456789.")
)


def read_yaml(text: str) -> Any:
    """Return what a text in YAML says.

    Raises
    ------
    StudyError
        If it is no YAML, gives a key twice, writes a number that is not what it looks like, or nests too deep.

    Examples
    --------
    >>> read_yaml("noise: [0, 1e-4]")
    {'noise': [0, 0.0001]}
    """
    try:
        return yaml.load(text, Loader=_Loader)
    except yaml.YAMLError as error:
        raise StudyError(f"is not YAML: {' '.join(str(error).split())}") from error


def as_yaml(fields: Mapping[str, Any]) -> str:
    """Write fields of a study in YAML, as :func:`read_yaml` reads them.

    Examples
    --------
    >>> print(as_yaml({"name": "a", "noise": [0, 1e-4]}), end="")
    name: a
    noise: [0, 0.0001]
    """
    return str(yaml.safe_dump(dict(fields), sort_keys=False, default_flow_style=None, width=110, allow_unicode=True))
