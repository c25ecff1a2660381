"""Short random histories of a loop in Dagster; `make torture` runs hundreds."""

import pytest
from hypothesis import Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from loop_histories import LoopHistory


@pytest.mark.slow
def test_whatever_is_clicked_and_edited_what_was_made_belongs_together() -> None:
    run_state_machine_as_test(
        LoopHistory,
        settings=settings(
            max_examples=4, stateful_step_count=8, deadline=None, derandomize=True, phases=[Phase.generate]
        ),
    )
