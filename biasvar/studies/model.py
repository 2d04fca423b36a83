"""What the fields of all studies have in common: strict types, one-line complaints, pickles that are checked again."""

from abc import ABC, abstractmethod
from functools import cached_property
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from biasvar.errors import StudyError
from biasvar.fields import NonNegativeInt, validation_text


class StudyModel(BaseModel, ABC):
    """A study as its fields.

    Parameters
    ----------
    name : str
        Name of the study: letters, digits, ``.``, ``-`` and ``_``.
    seed : int
        Seed of everything random in the study.
    description : str
        A line about the study for people.

    Raises
    ------
    StudyError
        If a field is unknown, missing, of the wrong type or does not fit the others.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, arbitrary_types_allowed=True)

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
    seed: NonNegativeInt = 0
    description: str = ""

    def __init__(self, **fields: Any) -> None:
        try:
            super().__init__(**fields)
        except ValidationError as error:
            raise StudyError(validation_text(error).removeprefix(".").removeprefix(": ")) from error

    def to_json(self) -> dict[str, Any]:
        """Return the study in canonical form, as it was when first asked: a user's objects may change as they run."""
        return self._json

    @cached_property
    def _json(self) -> dict[str, Any]:
        return self._canonical()

    @abstractmethod
    def _canonical(self) -> dict[str, Any]:
        """Return the study as JSON; the same study gives the same."""

    def __reduce__(self) -> Any:
        return _rebuild, (type(self), {name: getattr(self, name) for name in type(self).model_fields})


def _rebuild(kind: type[StudyModel], fields: dict[str, Any]) -> StudyModel:
    return kind(**fields)
