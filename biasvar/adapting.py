"""A user's plain object in the place of one of ours: the one place where objects are asked which members they have.

Each family has a base class and an adapter, which hands every member on to the user's object. What the object lacks is
the base class's: :func:`adapt` says so once, when a study is validated, so that nothing has to be asked later.
"""

from collections.abc import Callable, Iterable
from functools import cache
from typing import TypeVar, cast

F = TypeVar("F")


def said(own: object, name: str) -> object:
    """Return what an object says of itself, or None.

    Examples
    --------
    >>> said(slice(3), "stop"), said(slice(3), "dim")
    (3, None)
    """
    return getattr(own, name, None)


def shown(own: object) -> str:
    """Return the repr of an object, or the name of its class where the repr is an address, another in each process.

    Examples
    --------
    >>> shown(slice(3)), shown(object())
    ('slice(None, 3, None)', 'object')
    """
    return type(own).__name__ if type(own).__repr__ is object.__repr__ else repr(own)


def has(own: object, name: str) -> bool:
    """Tell whether an object has a member that is not None."""
    # The class is asked first: to have a property is cheap, to work it out may not be.
    return said(type(own), name) is not None or said(own, name) is not None


def offers(own: object, *methods: str) -> bool:
    """Tell whether an object, which is no class, has all of some methods.

    Examples
    --------
    >>> offers([], "append", "pop"), offers([], "push"), offers(list, "append")
    (True, False, False)
    """
    return not isinstance(own, type) and all(callable(said(own, name)) for name in methods)


def adapt(own: object, adapter: Callable[[F], F], family: type, optional: Iterable[str]) -> F:
    """Make an adapter of an object; those of its optional members that the object lacks are the family's.

    Parameters
    ----------
    own : object
        A user's, with the members that are required.
    adapter : type
        Hands all members on to the object it is made of, as if that were one of ours.
    family : type
        The base class, with the defaults.
    optional : iterable of str
        Which members an object may lack.

    Examples
    --------
    >>> class Animal:
    ...     def legs(self):
    ...         return 4
    >>> class Adapted(Animal):
    ...     def __init__(self, own):
    ...         self.own = own
    ...     def legs(self):
    ...         return self.own.legs()
    >>> class Bird:
    ...     def legs(self):
    ...         return 2
    >>> [adapt(own, Adapted, Animal, ["legs"]).legs() for own in (Bird(), object())]
    [2, 4]
    """
    lacking = tuple(name for name in optional if not has(own, name))
    made: F = _with_defaults(cast(type, adapter), family, lacking)(own)
    return made


@cache
def _with_defaults(adapter: type, family: type, lacking: tuple[str, ...]) -> type:
    """Return an adapter with some members of the family's, as a class: so the family sees what is overridden."""
    if not lacking:
        return adapter

    def reduced(self: object) -> tuple[object, ...]:
        # A class made here has no name that a pickle could find.
        return _rebuilt, (adapter, family, lacking, vars(self))

    members = {name: getattr(family, name) for name in lacking}
    return type(adapter.__name__, (adapter,), {"__module__": adapter.__module__, "__reduce__": reduced, **members})


def _rebuilt(adapter: type, family: type, lacking: tuple[str, ...], values: dict[str, object]) -> object:
    made: object = object.__new__(_with_defaults(adapter, family, lacking))
    vars(made).update(values)
    return made
