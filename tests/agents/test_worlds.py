"""What would happen: a learned world says what its model says, the oracle what the game says."""

from collections.abc import Sequence
from pathlib import Path as File

import pytest
import torch

from agentprm_dagster.agents.learned_world import LearnedWorld
from agentprm_dagster.agents.oracle_world import OracleWorld, Transparent
from agentprm_dagster.agents.worlds import Path
from agentprm_dagster.engine import checkpoints
from agentprm_dagster.engine.chat import Chat
from agentprm_dagster.engine.embedded.engine import EmbeddedEngine
from agentprm_dagster.envs.alfworld.language import WORDING
from agentprm_dagster.envs.alfworld.playable import PlayableGame
from agentprm_dagster.envs.base import SnapshotEnvironment
from agentprm_dagster.episodes.dialogue import write_answer
from agentprm_dagster.episodes.records import Episode, Observation, Response, State, Turn
from agentprm_dagster.episodes.stage import SilentMonitor
from agentprm_dagster.rollouts.collect import whole_episodes
from agentprm_dagster.rollouts.rollout import play
from scripted import Scripted, knowing

NOWHERE = Observation("", (), reward=0.0, done=False)
LONGEST = 12


@pytest.fixture(scope="module")
def learned(policy_folder: File) -> LearnedWorld:
    model, tokenizer = checkpoints.load_policy(policy_folder), checkpoints.load_tokenizer(policy_folder)
    engine = EmbeddedEngine(model, conversations=6)
    return LearnedWorld(engine, Chat(tokenizer, WORDING), slots=2, max_reply_tokens=LONGEST)


def path(slot: int, *answers: str) -> Path:
    predicted = Path(slot, [])
    for answer in answers:
        predicted.answer(Response(answer))
        predicted.reply("Something happens.")
    predicted.reply("")
    return predicted


@torch.no_grad()
def test_a_learned_world_reads_nothing_twice_and_says_what_the_whole_dialogue_leads_to(
    learned: LearnedWorld, policy_folder: File, demonstrations: list[Episode]
) -> None:
    stock, chat = (
        checkpoints.load_policy(policy_folder).eval(),
        Chat(checkpoints.load_tokenizer(policy_folder), WORDING),
    )
    before, (stop, *_) = chat.delimiters
    special = [token for token in chat.tokenizer.all_special_ids if token != stop]

    def likeliest(ids: list[int]) -> str:
        said: list[int] = []
        while len(said) < LONGEST:
            logits = stock(torch.tensor([ids + said])).logits[0, -1]
            logits[special] = -torch.inf
            if (token := int(logits.argmax())) == stop:
                break
            said.append(token)
        return chat.decode(said)

    begun = [(slot, episode, 1 + slot) for slot, episode in enumerate(demonstrations[:2])]
    for slot, episode, t in begun:
        learned.begin(slot, State("e", episode.first_observation, episode.turns[:t], NOWHERE))
    look, go = write_answer("I look around.", "look"), write_answer("I look for a mug.", "go to shelf 1")
    for step in range(2):
        paths = [path(0, look), path(0, go), path(1, look), path(1, go, look)]
        read = learned.usage.tokens_read
        replies = learned.replies(paths)
        over = learned.over(paths)
        for predicted, reply, ended in zip(paths, replies, over, strict=True):
            _, episode, t = begun[predicted.slot]
            turns = [*episode.turns[: t + step], *predicted.turns]
            ids = chat.state(episode.first_observation, turns[:-1]) + chat.answer(turns[-1].response)
            assert reply == likeliest([*ids, *before])
            said = stock(torch.tensor([chat.state(episode.first_observation, turns)])).logits[0, -1]
            assert ended is (int(said.argmax()) == chat.end)
        news = learned.usage.tokens_read - read
        most = sum(len(chat.state(episode.first_observation, episode.turns[:t])) for _, episode, t in begun)
        assert news < (2 if step == 0 else 1) * most, "spare slots take over what the slots have read"
        for slot, episode, t in begun:
            learned.observe(slot, episode.turns[t + step], NOWHERE)


def test_the_oracle_says_what_the_game_says_and_leaves_the_game_alone(household_games: list[PlayableGame]) -> None:
    """An agent that asks at every turn about the rest of its walkthrough, to the win, wins as if it had not asked."""

    class Asking(Scripted):
        def __init__(self, games: Sequence[PlayableGame]) -> None:
            super().__init__(knowing(games))
            self.world, self.asked_about = OracleWorld(), 0

        def begin(self, slot: int, state: State) -> None:
            super().begin(slot, state)
            self.world.begin(slot, state)

        def observe(self, slot: int, turn: Turn, observation: Observation) -> None:
            super().observe(slot, turn, observation)
            self.world.observe(slot, turn, observation)

        def act(self, slots: Sequence[int]) -> list[Response]:
            answers = super().act(slots)
            for slot, answer in zip(slots, answers, strict=True):
                first, turns, _ = self.conversations[slot]
                predicted = Path(slot, [])
                predicted.answer(answer)
                predicted.reply(*self.world.replies([predicted]))
                while self.world.over([predicted]) == [False]:
                    predicted.answer(Response(self.decide(first, [*turns, *predicted.turns], NOWHERE)))
                    predicted.reply(*self.world.replies([predicted]))
                self.asked_about += 1
            return answers

    agent = Asking(household_games)
    starts = whole_episodes([Transparent(game) for game in household_games], 1)
    episodes = play(agent, starts, max_steps=30, total=len(starts), monitor=SilentMonitor())
    assert all(episode.won for episode in episodes)
    assert agent.asked_about == sum(len(episode.turns) for episode in episodes)
    assert agent.world.usage.tokens == 0


def test_the_oracle_plays_no_game_that_hides_its_state() -> None:
    with pytest.raises(TypeError, match="wrap them in Transparent"):
        OracleWorld().begin(0, State("e", "", (), NOWHERE))


def test_a_transparent_game_returns_to_its_states(household_games: list[PlayableGame]) -> None:
    game = Transparent(household_games[0])
    assert (game.id, game.kind) == (household_games[0].id, household_games[0].kind)
    environment = game.environment()
    assert isinstance(environment, SnapshotEnvironment)
    start = environment.reset()
    here = environment.snapshot()
    moved = environment.step(start.admissible_commands[0])
    assert moved != start
    assert environment.restore(here) == start
