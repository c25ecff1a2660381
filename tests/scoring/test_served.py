"""A model behind a server: asked once, its answers kept, its key nowhere."""

from pathlib import Path
from typing import Any

import pytest

from agentprm_dagster.episodes.stage import SilentMonitor
from agentprm_dagster.scoring.card import Card
from agentprm_dagster.scoring.errors import ScoreError
from agentprm_dagster.scoring.policies import Wishes
from agentprm_dagster.scoring.prompts import PromptName
from agentprm_dagster.scoring.scored import Wanted, scored
from chat_servers import KEY, LOOK, completion, proxy_before

GAMES = 2


@pytest.fixture(autouse=True)
def journals_of_its_own(tmp_path: Path, games_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setattr("agentprm_dagster.scoring.served.journals_folder", lambda: tmp_path / "journals")


def play(
    url: str, *caps: int, prompt: PromptName | None = None, temperature: float | None = None, seeds: int = 1
) -> Card:
    wishes = Wishes(prompt=prompt, temperature=temperature)
    wanted = Wanted(panel="smoke", caps=caps, limit=GAMES, wishes=wishes, model="it", seeds=seeds)
    return scored([url], wanted, SilentMonitor())


def test_what_was_paid_for_is_not_asked_again(tmp_path: Path) -> None:
    with proxy_before(lambda question: completion(LOOK)) as server:
        first = play(server.url, 3)
        assert len(server.questions) == GAMES * 3
        again = play(server.url, 2, 3)
        assert len(server.questions) == GAMES * 3, "another panel of the same games asks nothing new"
        play(server.url, 4)
        assert len(server.questions) == GAMES * 4, "one more turn of each"
        assert server.credentials == {f"Bearer {KEY}"}
    assert [game.commands for game in first.runs[0].games["valid_seen"]] == [("look",) * 3] * GAMES
    assert again.runs[0].games == first.runs[0].games
    assert first.runs[0].tokens_read == 100 * GAMES * 3
    assert first.agents[0].details["server"] == server.url.split("/")[2]
    written = [first.to_json(), *(path.read_text() for path in tmp_path.rglob("*.jsonl"))]
    assert all(KEY not in text for text in written)


def test_it_is_asked_as_verl_agent_asks() -> None:
    def answer(question: dict[str, Any]) -> bytes:
        (message,) = question["messages"]
        step = "You are now at step" in message["content"]
        assert question["max_tokens"] == 512
        return completion("<think>hm</think><action>inventory</action>" if step else "look")

    with proxy_before(answer) as server:
        card = play(server.url, 3, prompt="verl-agent")
    assert [game.commands for game in card.runs[0].games["valid_seen"]] == [("", "inventory", "inventory")] * GAMES
    assert card.results[0].unparsed == pytest.approx(1 / 3)
    assert card.protocol.text and "<think>" in card.protocol.text


def test_every_seed_is_asked_for_itself_and_greedy_seeds_are_refused() -> None:
    with proxy_before(lambda question: completion(LOOK)) as server:
        card = play(server.url, 2, temperature=0.7, seeds=2)
        assert len(server.questions) == GAMES * 2 * 2
        assert {question["temperature"] for question in server.questions} == {0.7}
        with pytest.raises(ScoreError, match="--seeds 2: it draws nothing"):
            play(server.url, 2, temperature=0.0, seeds=2)
    assert len(card.runs) == 2


def test_what_it_may_cost_and_how_it_is_asked(tmp_path: Path) -> None:
    with proxy_before(lambda question: completion(LOOK)) as server:

        def asked(temperature: float | None = None, **llm: Any) -> Card:
            wishes = Wishes(temperature=temperature, llm=llm)
            wanted = Wanted(panel="smoke", caps=(3,), limit=GAMES, wishes=wishes, model="it")
            return scored([server.url], wanted, SilentMonitor())

        asked(temperature=1.0)
        longest = max(len(message["content"]) for each in server.questions for message in each["messages"])
        server.questions.clear()
        with pytest.raises(ScoreError, match="budget"):
            asked(budget_tokens=longest + 256 + 150, concurrency=1)  # for one answer of 110 tokens, or two
        assert 0 < len(server.questions) < GAMES * 3
        plain = asked(concurrency=3)
        assert len(server.questions) == GAMES * 3, "what was paid for is kept"
        hard = asked(request={"reasoning_effort": "high"})
        assert [question.get("reasoning_effort") for question in server.questions] == [None] * 6 + ["high"] * 6
    assert hard.protocol.request == {"reasoning_effort": "high"}
    assert hard.protocol_digest != plain.protocol_digest
    with pytest.raises(ScoreError, match="behind no server: leave --set llm"):
        scored(["expert:handcoded"], Wanted(panel="smoke", wishes=Wishes(llm={"timeout": 5})), SilentMonitor())


def test_a_failing_server_makes_no_card() -> None:
    with proxy_before(lambda question: 401) as server, pytest.raises(ScoreError, match="refused the key"):
        play(server.url, 2)


def test_a_model_has_to_be_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AGENTPRM_LLM_MODEL", raising=False)
    with pytest.raises(ScoreError, match="name it with --model, or in AGENTPRM_LLM_MODEL"):
        scored(["http://127.0.0.1:1/v1"], Wanted(panel="smoke"), SilentMonitor())
