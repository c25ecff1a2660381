"""What Dagster's page of a run shows first of a stage that failed: the error's own sentence."""

from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

import dagster as dg

PACKAGE = "agentprm_dagster."

Arguments = ParamSpec("Arguments")
Answer = TypeVar("Answer")


def in_own_words(asset: Callable[Arguments, Answer]) -> Callable[Arguments, Answer]:
    """An asset's function whose errors of this package are failures with the error's sentence as their description.

    Of any other error Dagster shows a stack of its own first, and the sentence at its far end. The error itself is the
    cause of the failure.
    """

    @wraps(asset)
    def told(*arguments: Arguments.args, **named: Arguments.kwargs) -> Answer:
        try:
            return asset(*arguments, **named)
        except Exception as error:  # raised again
            if not type(error).__module__.startswith(PACKAGE):
                raise
            raise dg.Failure(f"{type(error).__name__}: {error}", allow_retries=False) from error

    return told
