"""What all studies have in common: checked fields, each with its mark, that never change."""

import inspect
import json
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Annotated, Any, ClassVar, Self, dataclass_transform, get_args, get_origin, get_type_hints

from pydantic import BeforeValidator, Field, ValidationError, create_model

from biasvar.errors import StudyError
from biasvar.fields import STRICT, Json, NonNegativeInt, as_tuple, validation_text
from biasvar.rows import Table, as_html
from biasvar.studies import origins
from biasvar.studies.marks import Fixed, Free, Labelled, Mark, Unwritten, frozen, thawed

#: Letters of a study's name: its store and the lock beside it are files with that in their names.
LONGEST_NAME = 200


@dataclass_transform(frozen_default=True, kw_only_default=True, eq_default=False)
class _Checked(ABC):  # noqa: B024
    """What tells type checkers of the fields below: PEP 681 leaves out those of the marked class itself."""


class StudyModel(_Checked):
    """A study as its fields: checked when it is made, and never changed.

    A subclass annotates each field with its type, how it is checked, and one :class:`~biasvar.studies.marks.Mark`.

    Two studies are equal if their canonical JSON is: if they would give the same results.
    """

    kind: ClassVar[str]

    #: Fields that a field stands in for: to set it takes them away.
    instead_of: ClassVar[Mapping[str, tuple[str, ...]]] = {}

    _marks: ClassVar[dict[str, Mark[Any]]]
    _checks: ClassVar[Any]

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=LONGEST_NAME), Free()]
    seed: Annotated[NonNegativeInt, Fixed()] = 0
    description: Annotated[str, Unwritten()] = ""

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        hints = get_type_hints(cls, include_extras=True)
        types = {name: hint for name, hint in hints.items() if get_origin(hint) is not ClassVar}
        cls._marks = {name: _mark(f"{cls.__name__}.{name}", hint) for name, hint in types.items()}
        # pydantic checks the fields, out of sight: a study offers its own methods, not those of its checks.
        fields: dict[str, Any] = {
            name: (_of_lists_too(hint), thawed(getattr(cls, name, ...))) for name, hint in types.items()
        }
        cls._checks = create_model(cls.__name__, __config__=STRICT, **fields)
        cls.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
            [
                inspect.Parameter(
                    name, inspect.Parameter.KEYWORD_ONLY, default=getattr(cls, name, inspect.Parameter.empty)
                )
                for name in types
            ]
        )

    def __init__(self, **fields: object) -> None:
        given = {
            name: self._marks[name].build(value, name) if name in self._marks else value
            for name, value in self._completed(fields).items()
        }
        try:
            checked = self._checks(**given)
        except ValidationError as error:
            # Without pydantic's own account of it, which is longer and says less.
            raise StudyError(validation_text(error).removeprefix(".").removeprefix(": ")) from None
        vars(self).update({name: frozen(getattr(checked, name)) for name in self._marks})
        try:
            self._fit_together()
        except StudyError:
            raise
        except ValueError as error:
            raise StudyError(str(error)) from None

    def _completed(self, fields: Mapping[str, object]) -> Mapping[str, Any]:
        """Return the fields with what follows from others."""
        return fields

    @classmethod
    def without_defaults(cls, fields: Mapping[str, object]) -> Mapping[str, Any]:
        """Leave out, of fields as JSON, what others come to by themselves, so that it follows when those change."""
        return fields

    @abstractmethod
    def _fit_together(self) -> None:
        """Refuse, with a ValueError, fields that do not fit each other."""

    # Changing it

    def replace(self, **fields: object) -> Self:
        """Return a study with other values of some fields, checked like any new one.

        Parameters
        ----------
        **fields
            New values by field.

        Raises
        ------
        StudyError
            If a field is unknown, of the wrong type or does not fit the others.

        Examples
        --------
        >>> import biasvar as bv
        >>> bv.load("two-point-sine").replace(n_train=[5, 50], target=bv.Step()).n_train
        (5, 50)
        """
        dropped = {other for name in fields for other in self.instead_of.get(name, ())}
        return type(self)(**{name: value for name, value in self._fields() if name not in dropped} | fields)

    def __replace__(self, /, **fields: object) -> Self:
        return self.replace(**fields)

    def model_copy(self, *, update: Mapping[str, object] | None = None, deep: bool = False) -> Self:
        """Return :meth:`replace` of ``update``, by the name that other validated classes have for it."""
        return self.replace(**(update or {}))

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"{name}: studies do not change; make another with study.replace({name}=...)")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"{name}: studies do not change; make another with study.replace(...)")

    def __reduce__(self) -> Any:
        # Copies and pickles are made anew: checked, and with nothing remembered.
        return _made, (type(self), {name: thawed(value) for name, value in self._fields()})

    def _fields(self) -> Iterator[tuple[str, Any]]:
        return ((name, getattr(self, name)) for name in self._marks)

    # What it is

    def __repr__(self) -> str:
        shown = (
            f"{name}={thawed(value)!r}" for name, value in self._fields() if value != getattr(type(self), name, ...)
        )
        return f"{type(self).__name__}({', '.join(shown)})"

    def _repr_html_(self) -> str:
        fields = [[name, repr(thawed(value))] for name, value in self._fields() if value is not None]
        return as_html(Table(["field", "value"], fields, left=(0, 1), title=type(self).__name__))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, StudyModel) and (self is other or self.to_json() == other.to_json())

    def __hash__(self) -> int:
        return hash(json.dumps(self.to_json(), sort_keys=True))

    def to_json(self) -> dict[str, Any]:
        """Return the study in canonical form, as it was when first asked: a user's objects may change as they run."""
        return self._json

    @cached_property
    def _json(self) -> dict[str, Any]:
        written = {name: mark for name, mark in self._marks.items() if mark.is_written}
        found = {name: mark.write(getattr(self, mark.written_as or name)) for name, mark in written.items()}
        silent = {name for name, mark in written.items() if mark.silent and found[name] == self._default(name)}
        return {"kind": self.kind} | {name: value for name, value in found.items() if name not in silent}

    def _default(self, name: str) -> Any:
        """Return a field's default as JSON."""
        return self._marks[name].write(getattr(type(self), name, None))

    def supplement(self) -> dict[str, Any]:
        """Return, as JSON, what the canonical form does not say and it takes to make the study again.

        That is the order of labels, and where a user's functions, objects and class of study can be imported from.
        """
        parts = (part for name, value in self._fields() for part in self._marks[name].components(value))
        labels = {
            name: list(value)
            for name, value in self._fields()
            if isinstance(self._marks[name], Labelled) and name in self.to_json()
        }
        own = type(self).__module__.split(".")[0] != "biasvar"
        kind = {"kind": origins.importable(type(self))} if own else {}
        return {"imports": origins.origins(parts), "labels": labels, **kind}

    # What it is to a store

    def extension_errors(self, stored: Json) -> list[str]:
        """Say where this study differs from a stored one, in JSON, beyond extending it."""
        mine = self.to_json()
        if mine["kind"] != stored.get("kind"):
            return Fixed[object]().errors("kind", stored.get("kind"), mine["kind"])
        errors = []
        for name, mark in self._marks.items():
            if mark.is_written:
                # A store that is older than the field was made with its default.
                old, new = (each[name] if name in each else self._default(name) for each in (stored, mine))
                errors += mark.errors(name, old, new)
        return errors

    def superseded(self, stored: Json) -> str:
        """Say why the records of a stored study that this one extends are made anew; empty text if they are not."""
        return ""

    def union(self, other: Self) -> Self:
        """Return the least study that extends both, or, where they are no parts of one study, one of them.

        Raises
        ------
        StudyError
            If they are of two kinds.
        """
        if type(self) is not type(other):
            raise StudyError(f"kind: {self.name} is of {self.kind}, {other.name} of {other.kind}")
        theirs = dict(other._fields())
        return self.replace(**{name: self._marks[name].join(value, theirs[name]) for name, value in self._fields()})


def _made(kind: type[StudyModel], fields: dict[str, object]) -> StudyModel:
    return kind(**fields)


def _of_lists_too(hint: object) -> Any:
    """Return the type of a field that takes lists for tuples: YAML and JSON have no others."""
    return Annotated[hint, BeforeValidator(as_tuple)] if get_origin(get_args(hint)[0]) is tuple else hint


def _mark(where: str, hint: object) -> Mark[Any]:
    marks = [part for part in get_args(hint)[1:] if isinstance(part, Mark)] if get_origin(hint) is Annotated else []
    if len(marks) != 1:
        raise TypeError(f"{where}: expected a type with one mark, as in Annotated[int, Fixed()], got {hint}")
    return marks[0]
