"""Where the same study gives the same bits as a store has: on any x86-64 machine, or on one like that which made it."""

import json
import re
from collections.abc import Iterator

from biasvar.fields import Json

PORTABLE_SINCE = 3  # the first number of an arithmetic that calls no BLAS and no C library
_IMPORTED = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.<>]*")


def promise(attributes: Json) -> str:
    """Say where the same study gives the same bits, from the attributes of a store's root.

    Examples
    --------
    >>> promise({"numerics": 3, "supplement": {}, "study": '{"kind": "risk", "target": {"Sine": {}}}'})
    'same bits on any x86-64 machine'
    >>> promise({"numerics": 3, "supplement": {}, "study": '{"kind": "risk", "target": {"function": "mine"}}'})
    'same bits on the same kind of CPU with the same libraries, which mine calls'
    """
    numerics = attributes.get("numerics", 1)
    if numerics < PORTABLE_SINCE:
        why = f"which arithmetic number {numerics} calls"
    elif found := foreign_parts(attributes):
        why = f"which {' and '.join(found)} {'call' if len(found) > 1 else 'calls'}"
    else:
        return "same bits on any x86-64 machine"
    return f"same bits on the same kind of CPU with the same libraries, {why}"


def foreign_parts(attributes: Json) -> list[str]:
    """Return the names of what a store's study calls that is not biasvar's own, each once.

    Parameters
    ----------
    attributes : mapping
        Those of a store's root.
    """
    study = json.loads(attributes["study"])
    supplement = attributes.get("supplement", {})
    # Only of a user's kind of study is it kept where that is imported from, if from anywhere.
    kinds = [str(supplement["kind"] or study["kind"]).rpartition(":")[2]] if "kind" in supplement else []
    return list(dict.fromkeys([*kinds, *_foreign(study)]))


def _foreign(written: object) -> Iterator[str]:
    """Yield the names of a user's functions and classes in what was written of a component."""
    if isinstance(written, list):
        for item in written:
            yield from _foreign(item)
    elif isinstance(written, dict):
        for mark in ("function", "import"):
            if isinstance(written.get(mark), str):
                yield written[mark]
                return
        for name, fields in written.items():
            # A label may look like that as well, which errs on the safe side.
            if len(written) == 1 and _IMPORTED.fullmatch(name):
                yield name.partition(":")[2]
            yield from _foreign(fields)
