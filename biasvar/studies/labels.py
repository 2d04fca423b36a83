"""Hypothesis sets by label: what both must be."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from biasvar.errors import BiasvarError, StudyError
from biasvar.learning.hypotheses import HypothesisSet, adapted
from biasvar.studies import components

LONGEST_LABEL = 500  # letters


def check_sets(hypotheses: Mapping[str, Any]) -> None:
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


def adapted_sets(hypotheses: Mapping[str, Any]) -> dict[str, HypothesisSet]:
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
