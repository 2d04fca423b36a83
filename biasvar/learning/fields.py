"""Field types shared by everything a study is built from: strict, but kind to numpy scalars and sequences."""

from collections.abc import Iterable
from typing import Annotated, Any

import numpy as np
from pydantic import BeforeValidator, ConfigDict, Field

#: Configuration of every component: no unknown names, no silent conversion of text to numbers.
STRICT = ConfigDict(extra="forbid", strict=True, arbitrary_types_allowed=True)


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


def _sequence(value: Any) -> Any:
    if isinstance(value, str | bytes | dict) or not isinstance(value, Iterable):
        return value
    return tuple(_sequence(_plain(item)) for item in value)


def one_or_more(value: Any) -> Any:
    """Take one number for a sequence of one."""
    return (_plain(value),) if isinstance(_plain(value), int | float) else _sequence(value)


Real = Annotated[float, BeforeValidator(_plain), Field(allow_inf_nan=False)]
PositiveReal = Annotated[Real, Field(gt=0)]
NonNegativeReal = Annotated[Real, Field(ge=0)]
PositiveInt = Annotated[int, BeforeValidator(_plain), Field(gt=0)]
NonNegativeInt = Annotated[int, BeforeValidator(_plain), Field(ge=0)]
Reals = Annotated[tuple[Real, ...], BeforeValidator(_sequence), Field(min_length=1)]
Points = Annotated[tuple[Real, ...] | tuple[tuple[Real, ...], ...], BeforeValidator(_sequence), Field(min_length=1)]
