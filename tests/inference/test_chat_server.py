"""Asking a real server: what it answers, what is tried again, what is told when nothing helps."""

from pathlib import Path

import pytest

from agentprm_dagster.config import Llm
from agentprm_dagster.core.rollout import play, whole_episodes
from agentprm_dagster.core.stage import SilentMonitor
from agentprm_dagster.core.types import Observation, Turn
from agentprm_dagster.core.usage import Usage
from agentprm_dagster.envs.games import find_games
from agentprm_dagster.envs.generate import generate_games
from agentprm_dagster.envs.playable import PlayableGame
from agentprm_dagster.inference.chat_server import ChatServer, LlmError, ServedModel
from agentprm_dagster.inference.react import ReAct
from chat_servers import KEY, Proxy, free_port

GREEDY = Llm(temperature=0, max_new_tokens=40, retries=0)
HELLO = [{"role": "user", "content": "You are in the middle of a room."}]


def server(settings: Llm = GREEDY) -> ChatServer:
    return ChatServer(ServedModel.from_environment(), settings)


def test_it_answers_and_counts(proxy: Proxy) -> None:
    short = server(GREEDY.model_copy(update={"max_new_tokens": 3})).ask(HELLO, 0.0)
    assert short.tokens_drawn == 3
    assert short.tokens_read > 3
    again = server(GREEDY.model_copy(update={"request": {"seed": 7}})).ask(HELLO, None)
    assert again.tokens_read == short.tokens_read
    asked, seeded = proxy.questions
    assert (asked["temperature"], asked["max_tokens"]) == (0.0, 3)
    assert seeded["seed"] == 7
    assert "temperature" not in seeded


def test_a_busy_or_failing_server_is_asked_again(proxy: Proxy) -> None:
    proxy.faults.extend([503, 429, 500])
    assert server(GREEDY.model_copy(update={"retries": 3})).ask(HELLO, 0.0).text
    assert len(proxy.questions) == 4
    proxy.faults.extend([503] * 3)
    with pytest.raises(LlmError, match=r"127\.0\.0\.1:\d+ answered HTTP 503") as failed:
        server(GREEDY.model_copy(update={"retries": 2})).ask(HELLO, 0.0)
    assert len(proxy.questions) == 7
    assert KEY not in str(failed.value)


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("hang", r"did not answer within 0\.2 s \(0 retries\): raise llm\.timeout"),
        (401, r"refused the key .*\(HTTP 401\): see to OPENAI_API_KEY"),
        (400, r"answered HTTP 400, not a completion by .*no, Bearer \*\*\*"),
        (b"<html>Welcome</html>", r"answered JSONDecodeError, not a completion by "),
        (b'"Welcome"', r"expected a completion and its `usage` from .*Welcome: is OPENAI_BASE_URL right"),
        (b'{"choices": []}', r"expected a completion and its `usage`"),
        (b'{"choices": [{"index": 0, "message": {"content": "Hi"}}]}', r"nobody knows what is spent"),
    ],
)
def test_what_does_not_help_to_ask_again_is_told(proxy: Proxy, fault: int | str | bytes, words: str) -> None:
    proxy.faults.append(fault)
    with pytest.raises(LlmError, match=words) as failed:
        server(GREEDY.model_copy(update={"timeout": 0.2 if fault == "hang" else 120})).ask(HELLO, 0.0)
    assert len(proxy.questions) == 1
    assert KEY not in str(failed.value)
    assert failed.value.__cause__ is None, "the client's own error may repeat the key"


def test_nobody_there(monkeypatch: pytest.MonkeyPatch, proxy: Proxy) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", f"http://127.0.0.1:{free_port()}/v1")
    with pytest.raises(LlmError, match=r"could not be reached \(0 retries\): is the server there, and OPENAI_BASE_URL"):
        server().ask(HELLO, 0.0)


def test_the_environment_names_the_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGENTPRM_LLM_MODEL", "gpt-4o")
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    monkeypatch.setenv("OPENAI_API_KEY", "")
    with pytest.raises(LlmError, match="no language model to ask, OPENAI_BASE_URL and OPENAI_API_KEY not set: set"):
        ServedModel.from_environment()
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("OPENAI_BASE_URL", "https://user:secret@gateway.example:8443/v1?token=secret")
    model = ServedModel.from_environment()
    assert (model.name, model.host) == ("gpt-4o", "gateway.example:8443")
    assert KEY not in repr(model)
    assert "secret" not in repr(model)
    monkeypatch.setenv("OPENAI_BASE_URL", "gateway.example")
    with pytest.raises(LlmError, match="OPENAI_BASE_URL is not the URL of a server"):
        ServedModel.from_environment()


def test_it_plays_as_react(proxy: Proxy, tmp_path: Path) -> None:
    generate_games(tmp_path, seed=4, counts={"train": 6}, size="small")
    games = [PlayableGame(ref) for ref in find_games(tmp_path, "train")]
    agent = ReAct(server().ask, 0.0)
    episodes = play(agent, whole_episodes(games[:2], 1), max_steps=4, total=2, monitor=SilentMonitor())
    turns = [turn for episode in episodes for turn in episode.turns]
    assert len(turns) == len(proxy.questions) == proxy.answered
    assert agent.usage.tokens_read > agent.usage.tokens_drawn > len(turns)
    last, asked = episodes[-1], proxy.questions[-1]["messages"]
    (message,) = asked
    assert last.first_observation.splitlines()[-1].split(": ")[-1] in message["content"], "the task"
    assert all(f'"action": "{turn.action}"' in message["content"] for turn in last.turns[:-1])


def test_answers_are_proposed_one_by_one(proxy: Proxy) -> None:
    agent = ReAct(server().ask, 0.0)
    agent.begin(0, "Look.\nYour task is to: look", [], Observation("Look.", ("look",), won=False, done=False))
    before = Usage(agent.usage.tokens_read, agent.usage.tokens_drawn)
    ((one, two),) = agent.propose([0], 2, 0.5)
    assert one.text and two.text
    assert one.tokens == two.tokens == ()
    assert [question["temperature"] for question in proxy.questions] == [0.5, 0.5]
    assert agent.usage.tokens > before.tokens
    seen = Observation("Look.", ("look",), won=False, done=False)
    agent.observe(0, Turn("", "look", "Nothing happens.", one.text), seen)
    agent.act([0])
    assert '"action": "look"' in proxy.questions[-1]["messages"][0]["content"]
