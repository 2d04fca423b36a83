"""Field types shared by everything a study is built from: strict, but kind to numpy scalars and sequences."""

from collections.abc import Iterable, Mapping
from functools import wraps
from typing import Annotated, Any, TypeVar, dataclass_transform

import numpy as np
from pydantic import BeforeValidator, ConfigDict, Field, ValidationError
from pydantic.dataclasses import dataclass

from biasvar.errors import StudyError

T = TypeVar("T")

#: What is read from JSON or YAML: fields by name, each of its own kind.
Json = Mapping[str, Any]

#: Configuration of every component: no unknown names, no silent conversion of text to numbers.
STRICT = ConfigDict(extra="forbid", strict=True, arbitrary_types_allowed=True)

LONGEST_QUOTE = 200  # letters of a wrong value that errors quote

UNKNOWN = ("unexpected_keyword_argument", "extra_forbidden", "unexpected_positional_argument")


def _python(value: object) -> Any:
    return value.item() if isinstance(value, np.generic) else value


def as_tuple(value: object) -> Any:
    """Turn sequences, and those within, into tuples, numpy's numbers into Python's; leave all else as it is."""
    if isinstance(value, str | bytes | dict) or not isinstance(value, Iterable):
        return value
    return tuple(as_tuple(_python(item)) for item in value)


def one_or_more(value: object) -> Any:
    """Take one number for a sequence of one."""
    return (_python(value),) if isinstance(_python(value), int | float) else as_tuple(value)


Real = Annotated[float, BeforeValidator(_python), Field(allow_inf_nan=False)]
PositiveReal = Annotated[Real, Field(gt=0)]
NonNegativeReal = Annotated[Real, Field(ge=0)]
PositiveInt = Annotated[int, BeforeValidator(_python), Field(gt=0)]
NonNegativeInt = Annotated[int, BeforeValidator(_python), Field(ge=0)]
Reals = Annotated[tuple[Real, ...], BeforeValidator(as_tuple), Field(min_length=1)]
Points = Annotated[tuple[Real, ...] | tuple[tuple[Real, ...], ...], BeforeValidator(as_tuple), Field(min_length=1)]


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= LONGEST_QUOTE else f"{text[:LONGEST_QUOTE]}..."


@dataclass_transform(frozen_default=True)
def component(cls: type[T]) -> type[T]:
    """Make a class a frozen, validated dataclass whose complaints are one-line :class:`StudyError`."""
    # A repr that a class has, its own or inherited, stays.
    made: Any = dataclass(frozen=True, config=STRICT, repr=cls.__repr__ is object.__repr__)(cls)
    validate = made.__init__

    @wraps(validate)
    def initialise(self: T, *args: object, **fields: object) -> None:
        try:
            validate(self, *args, **fields)
        except ValidationError as error:
            # Without pydantic's own account of it, which is longer and says less.
            raise StudyError(f"{cls.__name__}{validation_text(error)}") from None

    made.__init__ = initialise
    return made  # type: ignore[no-any-return]


def validation_text(error: ValidationError) -> str:
    """Put one of pydantic's complaints in a line: where, what was wrong, what was got."""
    first = min(error.errors(), key=lambda each: each["type"] not in UNKNOWN)  # else a misspelt field is called missing
    where = "".join(f".{part}" for part in first["loc"] if not str(part).startswith(("function-", "tuple[")))
    message = first["msg"].removeprefix("Value error, ").removesuffix(" after validation, not 0")
    message = message.replace("valid tuple", "list").replace("valid dictionary", "mapping")
    if first["type"] in UNKNOWN:
        return f"{where}: unknown field, with value {_short(first['input'])}; check its spelling"
    if first["type"] in ("missing", "missing_argument"):
        return f"{where}: is missing"
    got = "" if first["type"] == "value_error" else f", got {_short(first['input'])}"
    return f"{where}: {message[:1].lower()}{message[1:]}{got}"
