"""ReAct by a real server's model, and answers that begin with thinking."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from agentprm_dagster.agents.react import ReAct, without_thinking
from agentprm_dagster.config import Llm
from agentprm_dagster.engine.served.chat_server import ChatServer
from agentprm_dagster.engine.served.replies import Refused, Reply
from agentprm_dagster.engine.served.served_model import ServedModel
from agentprm_dagster.envs.alfworld.games import find_games
from agentprm_dagster.envs.alfworld.generate import generate_games
from agentprm_dagster.envs.alfworld.language import WORDING
from agentprm_dagster.envs.alfworld.playable import PlayableGame
from agentprm_dagster.episodes.parsing import parse_answer
from agentprm_dagster.episodes.records import Observation, State, Turn
from agentprm_dagster.episodes.stage import SilentMonitor
from agentprm_dagster.episodes.usage import Asked, Usage
from agentprm_dagster.rollouts.collect import whole_episodes
from agentprm_dagster.rollouts.rollout import play
from chat_servers import LOOK, Proxy


@pytest.fixture
def server(proxy: Proxy) -> Iterator[ChatServer]:
    """A client of the small model's server."""
    settings = Llm(temperature=0, max_new_tokens=40, retries=0)
    with closing(ChatServer(ServedModel.from_environment(), settings)) as server:
        yield server


def test_it_plays_as_react(server: ChatServer, proxy: Proxy, tmp_path: Path) -> None:
    generate_games(tmp_path, seed=4, counts={"train": 6}, size="small")
    games = [PlayableGame(ref) for ref in find_games(tmp_path, "train")]
    agent = ReAct(server.ask, WORDING.prompt, 0.0)
    episodes = play(agent, whole_episodes(games[:2], 1), max_steps=4, total=2, monitor=SilentMonitor())
    turns = [turn for episode in episodes for turn in episode.turns]
    assert len(turns) == len(proxy.questions) == proxy.answered
    assert agent.usage.tokens_read > agent.usage.tokens_drawn > len(turns)
    last, asked = episodes[-1], proxy.questions[-1]["messages"]
    (message,) = asked
    assert last.first_observation.splitlines()[-1].split(": ")[-1] in message["content"], "the task"
    assert all(f'"action": "{turn.action}"' in message["content"] for turn in last.turns[:-1])


def test_answers_are_proposed_one_by_one(server: ChatServer, proxy: Proxy) -> None:
    agent = ReAct(server.ask, WORDING.prompt, 0.0)
    seen = Observation("Look.", ("look",), reward=0.0, done=False)
    agent.begin(0, State("e", "Look.\nYour task is to: look", (), seen))
    before = Usage(agent.usage.tokens_read, agent.usage.tokens_drawn)
    ((one, two),) = agent.propose([0], 2, 0.5)
    assert one.text and two.text
    assert one.tokens == two.tokens == (), "no model here drew them"
    assert [question["temperature"] for question in proxy.questions] == [0.5, 0.5]
    assert agent.usage.tokens > before.tokens
    seen = Observation("Look.", ("look",), reward=0.0, done=False)
    agent.observe(0, Turn("", "look", "Nothing happens.", one.text), seen)
    agent.act([0])
    assert '"action": "look"' in proxy.questions[-1]["messages"][0]["content"]


@pytest.mark.parametrize(
    "text",
    [
        LOOK,
        f"<think>\nREASON: x\nACTION: go to bed 1\n</think>\n\n{LOOK}",
        f"<think></think>{LOOK}",
        f"<think>\n\n</think>\n\n{LOOK}",
        f"I should look around.\n</think>\n{LOOK}",
        f"<think>One.</think><think>Two.</think>\n{LOOK}",
        f"<Thinking>Hm.</Thinking>\n{LOOK}",
        f"[THINK]Hm.[/THINK]{LOOK}",
        f"<seed:think>Hm.</seed:think>{LOOK}",
        f"<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant<|channel|>final<|message|>{LOOK}",
    ],
)
def test_thinking_is_no_part_of_the_answer(text: str) -> None:
    assert without_thinking(text) == LOOK


def test_thinking_without_end_is_no_answer() -> None:
    text = f"<think>\n{LOOK}"
    assert without_thinking(text) == text
    assert not parse_answer(without_thinking(text)).parsed


def test_answers_of_little_use_are_counted_and_a_refused_prompt_ends_the_episode(
    household_games: list[PlayableGame],
) -> None:
    replies = [Reply(LOOK, 5, 2), Reply("<think>Hm.</think>", 5, 3, "length"), Reply("No", 5, 1, "content_filter")]

    def ask(messages: object, temperature: float | None) -> Reply:
        if not replies:
            raise Refused("too long")
        return replies.pop(0)

    agent = ReAct(ask, WORDING.prompt, None)
    starts = whole_episodes(household_games[:1], 1)
    (episode,) = play(agent, starts, max_steps=9, total=1, monitor=SilentMonitor())
    assert ([turn.parsed for turn in episode.turns], episode.won) == ([True, False, False], False)
    took = agent.usage.environment_seconds
    assert agent.usage == Asked(15, 6, took, 1, 1, 1, ("too long",))
    counts = {"cut_answers": 1, "filtered_answers": 1, "empty_answers": 1, "refused_episodes": 1}
    assert (
        agent.usage.metrics()
        == {"tokens": 21, "tokens_read": 15, "tokens_drawn": 6, "environment_seconds": took} | counts
    )
    both = agent.usage + Asked(1, refusals=("no",))
    assert (both.tokens_read, both.cut_answers, both.refusals) == (16, 1, ("too long", "no"))
