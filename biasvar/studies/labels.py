"""What is named by labels: objectives, update rules and hypothesis sets, and which labels can be."""

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager

from biasvar.errors import BiasvarError, StudyError
from biasvar.learning.hypotheses import HypothesisSet, adapted
from biasvar.studies import components

LONGEST_LABEL = 500  # letters


@contextmanager
def named(where: str) -> Iterator[None]:
    """Say in errors which field they are of."""
    try:
        yield
    except StudyError as error:
        raise StudyError(f"{where}: {error}") from error


def check_labels(field: str, given: Mapping[str, object]) -> None:
    """Refuse a field without things, or with labels that cannot be."""
    if not given:
        raise ValueError(f"{field}: is empty; name at least one")
    for label in given:
        if not components.LABEL.fullmatch(label) or label == "blocks":
            raise ValueError(f"{field}: {label!r} cannot be a label; use letters, digits, . - and _")
        if len(label) > components.LONGEST_LABEL:
            raise ValueError(
                f"{field}: {label[:20]!r}... is too long for a label; use {components.LONGEST_LABEL} letters"
            )


def check_known(field: str, given: Mapping[str, object], known: Collection[str]) -> None:
    """Refuse labels of what is no objective."""
    for label in given:
        if label not in known:
            raise ValueError(f"{field}: {label!r} is no objective; choose from {', '.join(known)}")


def check_sets(hypotheses: Mapping[str, object]) -> None:
    """Refuse labels that cannot name cells in a store, and what is no hypothesis set.

    Raises
    ------
    ValueError
        Naming the label.
    """
    if not hypotheses:
        raise ValueError("hypotheses: is empty; name at least one hypothesis set")
    for label, hypothesis in hypotheses.items():
        if not label.isprintable() or any(c in label for c in "/\\@") or label.startswith((".", "__")) or not label:
            raise ValueError(
                f"hypotheses: {label!r} cannot be a label; avoid / \\ @, line breaks and a leading . or __"
            )
        if len(label) > LONGEST_LABEL:
            raise ValueError(
                f"hypotheses: {label[:20]!r}... is too long for a label; use at most {LONGEST_LABEL} letters"
            )
        if not isinstance(hypothesis, components.Imported):  # those are imported when the study runs
            adapted(hypothesis, f"hypotheses.{label}")


def adapted_sets(hypotheses: Mapping[str, object]) -> dict[str, HypothesisSet]:
    """Return hypothesis sets by label, imported and adapted."""
    return {
        label: adapted(components.resolved(hypothesis), f"hypotheses.{label}")
        for label, hypothesis in hypotheses.items()
    }


@contextmanager
def asking(label: str) -> Iterator[None]:
    """Say of which set an error is that its code raises when it is asked what it is."""
    try:
        yield
    except BiasvarError:
        raise
    except Exception as error:
        raise StudyError(f"hypotheses.{label}: {type(error).__name__}: {error}") from error
