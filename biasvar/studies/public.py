"""The package's own components and kinds of study: those that ``biasvar/__init__.pyi``, the list of public names, has.

So a new one is its class and one line in that list. A component belongs to the family in whose room its class stands.
"""

import ast
import importlib
import inspect
from functools import cache
from pathlib import Path
from typing import Any


@cache
def _listed() -> tuple[tuple[str, str], ...]:
    """Return module and name of each public name, in the order of the list."""
    stub = Path(__file__).resolve().parent.parent / "__init__.pyi"
    lines = (node for node in ast.parse(stub.read_text()).body if isinstance(node, ast.ImportFrom))
    return tuple((f"biasvar.{line.module}", each.name) for line in lines for each in line.names)


def public_classes(room: str, family: type = object) -> dict[str, type[Any]]:
    """Return the public classes of a family from one room that are not abstract, by name.

    Parameters
    ----------
    room : str
        A module or package of biasvar, such as ``"optimization.rules"``.
    family : type
        The abstract class of the family.

    Examples
    --------
    >>> list(public_classes("optimization.schedules"))
    ['ConstantRate', 'Cosine', 'InverseSqrt', 'StepDecay']
    """
    here = f"biasvar.{room}"
    names = [(module, name) for module, name in _listed() if module == here or module.startswith(f"{here}.")]
    found = {name: getattr(importlib.import_module(module), name) for module, name in names}
    return {
        name: each
        for name, each in found.items()
        if isinstance(each, type) and issubclass(each, family) and not inspect.isabstract(each)
    }
