"""Budgets by hand and for any order of questions."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentprm_dagster.config import Llm
from agentprm_dagster.engine.served.budget import Budget, BudgetExceeded, price
from agentprm_dagster.engine.served.replies import Reply
from agentprm_dagster.engine.served.served_model import LlmError
from agentprm_dagster.episodes.usage import Usage

QUESTION = [{"role": "user", "content": "é" * 20}]
"""40 bytes."""


def test_money_by_hand() -> None:
    prices = Llm(price_read=2.5, price_drawn=10)
    assert price(Usage(tokens_read=400_000, tokens_drawn=50_000), prices) == pytest.approx(1.5)


def test_room_is_kept_for_the_longest_answer_under_way() -> None:
    budget = Budget(Llm(budget_tokens=100, max_new_tokens=10))
    with budget.room(QUESTION), budget.room(QUESTION):
        refuse(budget, r"0 of llm\.budget_tokens 100 .*could take 150: raise it to go on")
    budget.pay(Reply("", 40, 10))
    with budget.room(QUESTION):
        pass
    budget.pay(Reply("", 1, 0))
    refuse(budget, "51 of")


def test_money_runs_out() -> None:
    budget = Budget(Llm(budget_tokens=None, budget_money=0.001, price_read=10, price_drawn=10, max_new_tokens=10))
    budget.pay(Reply("", 40, 10))
    with budget.room(QUESTION):
        refuse(budget, r"0\.0005 of llm\.budget_money 0\.001 are spent \(50 tokens\).*0\.0010: raise it to go on")


def refuse(budget: Budget, words: str) -> None:
    with pytest.raises(BudgetExceeded, match=words), budget.room(QUESTION):
        pass


def test_a_closed_budget_lets_nothing_be_asked() -> None:
    budget = Budget(Llm())
    budget.close()
    with pytest.raises(LlmError, match="stopped"), budget.room(QUESTION):
        pass


def test_an_invalid_answer_counts_and_is_asked_again_only_where_there_is_room() -> None:
    budget = Budget(Llm(budget_tokens=100, max_new_tokens=10))
    with budget.room(QUESTION):
        budget.waste(Usage(40, 10))
        with pytest.raises(BudgetExceeded, match=r"51 of llm\.budget_tokens 100 are spent.*could take 50"):
            budget.waste(Usage(1, 0))
    with pytest.raises(LlmError, match="stopped"), budget.room([]):
        budget.close()
        budget.waste(Usage())


@given(st.integers(1, 2000), st.lists(st.tuples(st.integers(0, 40), st.integers(0, 10))))
def test_no_budget_is_exceeded(limit: int, answers: list[tuple[int, int]]) -> None:
    budget = Budget(Llm(budget_tokens=limit, max_new_tokens=10))
    for read, drawn in answers:
        try:
            with budget.room(QUESTION):
                budget.pay(Reply("", read, drawn))
        except BudgetExceeded:
            assert budget.spent.tokens + 50 > limit, "nothing is refused that there is room for"
        assert budget.spent.tokens <= limit
