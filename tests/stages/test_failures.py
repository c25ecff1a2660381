"""Errors of this package are failures in their own words; the command line prints the same words as ever."""

import dagster as dg
import pytest

from agentprm_dagster.commands.run import failures
from agentprm_dagster.provenance.errors import ArtifactError
from agentprm_dagster.stages.failures import in_own_words


def run_with(error: Exception) -> dg.ExecuteInProcessResult:
    @dg.asset
    @in_own_words
    def prm(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
        raise error

    return dg.materialize([prm], raise_on_error=False)


@pytest.mark.parametrize(
    ("error", "described"),
    [
        (ArtifactError("rollouts[1] is not there: materialize it first"), True),
        (ZeroDivisionError("division by zero"), False),
    ],
)
def test_the_sentence_comes_first(error: Exception, described: bool) -> None:
    result = run_with(error)
    (event,) = result.get_step_failure_events()
    words = f"{type(error).__name__}: {error}"
    failure = event.step_failure_data.user_failure_data
    assert (failure.description if failure else None) == (words if described else None)
    assert list(failures(result)) == [f"prm failed: {words}"]
