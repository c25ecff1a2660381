"""Short random histories of a store; `make torture` runs thousands."""

from hypothesis import Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from histories import StoreHistory


def test_whatever_happens_lineage_and_verify_say_what_was_read() -> None:
    run_state_machine_as_test(
        StoreHistory,
        settings=settings(max_examples=25, stateful_step_count=15, derandomize=True, phases=[Phase.generate]),
    )
