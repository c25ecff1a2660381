"""`agentprm compare`: what cannot be compared is refused. (tests/cli/test_cli.py compares real runs.)"""

from collections.abc import Iterator

import pytest

from agentprm_dagster.algorithm.statistics import ComparisonError
from agentprm_dagster.commands import compare


@pytest.mark.parametrize(
    ("policy", "cap", "told"),
    [
        ("pi_1", 50, r"pi_1 was given 30 and 50 actions"),
        ("pi_2", 30, r"ours has evaluated pi_1, theirs pi_2: expected"),
    ],
)
def test_what_cannot_be_compared_is_refused(policy: str, cap: int, told: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def outcomes(store: object, experiment: str) -> Iterator[tuple[dict[str, object], dict[tuple[str, int], bool]]]:
        ours = experiment == "ours"
        row = {
            "policy": "pi_1" if ours else policy,
            "split": "valid_seen",
            "best_of": 1,
            "ranked_by": None,
            "iteration": 1,
        }
        yield {**row, "world": None, "horizon": 0, "max_steps": 30 if ours else cap}, {("a", 0): True}

    monkeypatch.setattr(compare, "current_outcomes", outcomes)
    with pytest.raises(ComparisonError, match=told):
        compare.print_comparison("ours", "theirs", as_json=False)


def test_without_pi_0_there_is_nothing_to_stand_beside(monkeypatch: pytest.MonkeyPatch) -> None:
    row = {"policy": "pi_2", "split": "valid_seen", "best_of": 1, "ranked_by": None, "iteration": 2}
    played = [({**row, "world": None, "horizon": 0, "max_steps": 30}, {("a", 0): True})]
    monkeypatch.setattr(compare, "current_outcomes", lambda store, experiment: iter(played))
    with pytest.raises(ComparisonError, match=r"toy has not evaluated pi_0: `agentprm run toy` does it"):
        compare.print_comparison("toy", None, as_json=False)
