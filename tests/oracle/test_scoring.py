"""How scorers are judged: by hand."""

from math import isnan
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from agentprm_dagster.oracle.page import markdown
from agentprm_dagster.oracle.scoring import halves, predictions, reliability, score, spearman, split_half
from agentprm_dagster.oracle.tables import Oracle, OracleError, read_oracle, standard_error

Q = {"s": [0.9, 0.5, 0.1], "t": [0.2, 0.21, 0.8], "u": [0.0, 0.0]}
"""In t the first two are nearer than two standard errors; in u nothing differs."""


def oracle(continuations: int = 8) -> Oracle:
    rows = [
        {
            "state": state,
            "answer": i,
            "action": f"go to {i}",
            "text": f"REASON: why\nACTION: go to {i}",
            "q": q,
            "standard_error": 0.05,
            "returns": [q] * continuations,
        }
        for state, values in Q.items()
        for i, q in enumerate(values)
    ]
    about = [
        {
            "state": state,
            "game": f"game {state}",
            "task_type": "pick",
            "phase": phase,
            "conversation": [{"role": "user", "content": state}],
        }
        for state, phase in zip(Q, ("early", "late", "late"), strict=True)
    ]
    return Oracle(pd.DataFrame(about), pd.DataFrame(rows), Path())


TRUE = np.array([q for values in Q.values() for q in values])


def test_who_says_what_is_true_is_right_in_everything() -> None:
    found = score(oracle(), TRUE, "true", probability=True)
    assert (found.states, found.answers, found.pairs) == (3, 8, 5)
    assert (found.ordered.value, found.regret.value, found.brier.value, found.calibration_error.value) == (1, 0, 0, 0)
    assert [found.pearson.value, found.spearman.value] == pytest.approx([1, 1])


def test_who_says_the_opposite_is_wrong() -> None:
    found = score(oracle(), 1 - TRUE, "false", probability=True)
    assert found.ordered.value == 0
    assert found.pearson.value == pytest.approx(-1)
    assert found.regret.value == pytest.approx((0.8 + 0.6 + 0) / 3)
    assert found.brier.value == pytest.approx(np.mean((1 - 2 * TRUE) ** 2))


def test_who_says_nothing_is_half_right() -> None:
    found = score(oracle(), np.full(8, TRUE.mean()), "constant", probability=True)
    assert found.ordered.value == 0.5
    assert found.regret.value == pytest.approx((0.9 - 0.5 + 0.8 - 1.21 / 3 + 0) / 3)
    assert found.calibration_error.value == pytest.approx(0, abs=1e-9), "in the mean it is right"
    assert len(found.reliability) == 1
    assert isnan(found.pearson.value)
    assert found.to_dict()["pearson"]["value"] is None


def test_what_is_no_probability_is_not_calibrated() -> None:
    found = score(oracle(), 10 * TRUE - 100, "logits", probability=False)
    assert found.ordered.value == 1
    assert isnan(found.brier.value)
    assert isnan(found.calibration_error.value)
    assert found.reliability == ()


def test_states_are_parted_by_phase_task_and_what_was_learnt_from() -> None:
    said = np.array([*TRUE[:3], *(1 - TRUE[3:])])
    found = score(oracle(), said, "half", probability=True, trained_on=["game s"])
    assert found.parts.keys() == {"phase early", "phase late", "task pick", "games trained on", "games not trained on"}
    assert found.parts["phase early"].ordered.value == found.parts["games trained on"].ordered.value == 1
    assert found.parts["phase late"].ordered.value == found.parts["games not trained on"].ordered.value == 0
    assert found.ordered.value == pytest.approx(3 / 5)
    assert "| phase late | half | 2 | 0.0% (" in markdown([found], "By hand.")


def test_intervals_hold_the_number_and_a_seed_decides_them() -> None:
    said = np.array([0.3, 0.6, 0.1, 0.2, 0.2, 0.9, 0.0, 0.4])
    one, same = (score(oracle(), said, "some", probability=True, seed=3) for _ in range(2))
    assert one == same
    for estimate in (one.ordered, one.regret, one.brier, one.pearson):
        assert estimate.low <= estimate.value <= estimate.high
        assert estimate.low < estimate.high


def test_halves_by_hand() -> None:
    returns = [1.0, 0.0, 0.0, 0.5, 1.0, 0.25]
    told = oracle()
    answers = told.answers.assign(returns=pd.Series([returns] * 8))
    one, other, error = halves(Oracle(told.states, answers, Path()))
    assert one[0] == pytest.approx(2 / 3)
    assert other[0] == pytest.approx(0.25)
    assert error[0] == pytest.approx(0.25 / np.sqrt(3))
    assert split_half(told).ordered.value == 1
    with pytest.raises(OracleError, match="at least 4"):
        halves(oracle(continuations=2))


def test_a_function_of_messages_and_answer_is_asked_for_every_answer() -> None:
    asked: list[tuple[str, str]] = []

    def likes_the_last(conversation: list[dict[str, str]], answer: str) -> float:
        asked.append((conversation[-1]["content"], answer))
        return float(answer[-1])

    said = predictions(oracle(), likes_the_last)
    assert said.tolist() == [0, 1, 2, 0, 1, 2, 0, 1]
    assert asked[3] == ("t", "REASON: why\nACTION: go to 0")
    with pytest.raises(OracleError, match="finite"):
        predictions(oracle(), lambda conversation, answer: float("nan"))
    with pytest.raises(OracleError, match="expected 8 values"):
        score(oracle(), said[:5], "few", probability=True)


def test_numbers_by_hand() -> None:
    assert standard_error(np.array([0.0, 1.0, 1.0, 0.0])) == pytest.approx(np.sqrt(1 / 3) / 2)
    assert isnan(standard_error(np.array([1.0])))
    assert spearman(np.array([[0.1, 5], [0.2, 50], [0.3, 500]])) == pytest.approx(1)
    rows = np.array([[0.0, 0.1], [1.0, 0.1], [1.0, 0.9]])
    assert np.array(reliability(rows)) == pytest.approx(np.array([[0.1, 0.5], [0.9, 1.0]]))


def test_what_is_no_oracle_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OracleError, match="not found"):
        read_oracle(tmp_path)
    told = oracle()
    told.states.iloc[1:].to_parquet(tmp_path / "states.parquet")
    told.answers.to_parquet(tmp_path / "answers.parquet")
    with pytest.raises(OracleError, match="1 states"):
        read_oracle(tmp_path)
    told.answers.drop(columns="q").to_parquet(tmp_path / "answers.parquet")
    with pytest.raises(OracleError, match="'q'"):
        read_oracle(tmp_path)
