"""A policy with cached slots says what the model says when it reads every conversation from its start."""

from pathlib import Path

import pytest
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from agentprm_dagster.agents.policy import Policy
from agentprm_dagster.engine import checkpoints
from agentprm_dagster.engine.base import ContextOverflow
from agentprm_dagster.engine.chat import Chat
from agentprm_dagster.engine.embedded.engine import EmbeddedEngine
from agentprm_dagster.envs.alfworld.language import WORDING
from agentprm_dagster.envs.alfworld.playable import PlayableGame
from agentprm_dagster.envs.base import Environment
from agentprm_dagster.episodes.dialogue import Format
from agentprm_dagster.episodes.parsing import parse_answer
from agentprm_dagster.episodes.records import Episode, Observation, State, Turn
from agentprm_dagster.episodes.stage import SilentMonitor
from agentprm_dagster.rollouts.collect import whole_episodes
from agentprm_dagster.rollouts.rollout import play

LONG_ENOUGH = 24


def policy(
    folder: Path,
    *,
    dialogue: Format = "append",
    slots: int = 4,
    temperature: float = 0.0,
    new: int = LONG_ENOUGH,
    seed: int = 0,
) -> Policy:
    model, tokenizer = checkpoints.load_policy(folder), checkpoints.load_tokenizer(folder)
    return Policy(
        EmbeddedEngine(model, conversations=slots),
        Chat(tokenizer, WORDING),
        dialogue=dialogue,
        slots=slots,
        temperature=temperature,
        max_new_tokens=new,
        seed=seed,
    )


class Reader:
    """transformers' own generation, over the whole dialogue again at every turn."""

    def __init__(self, folder: Path, dialogue: Format, new: int = LONG_ENOUGH) -> None:
        self.model: PreTrainedModel = checkpoints.load_policy(folder).eval()
        self.chat, self.dialogue, self.new = Chat(checkpoints.load_tokenizer(folder), WORDING), dialogue, new
        self.answers: list[tuple[bool, str]] = []

    def answer(self, first: str, turns: list[Turn], observation: Observation) -> str:
        if self.dialogue == "restated":
            ids = self.chat.prompt(WORDING.prompt(first, turns, observation.admissible_commands))
        else:
            ids = self.chat.prompt(WORDING.conversation(first, turns, last_observation=True))
        generated = self.model.generate(
            torch.tensor([ids]),
            attention_mask=torch.ones(1, len(ids)),
            do_sample=False,
            max_new_tokens=self.new,
            suppress_tokens=[i for i in self.chat.tokenizer.all_special_ids if i != self.chat.end],
        )[0, len(ids) :].tolist()
        ended = generated[-1] == self.chat.end
        text = self.chat.decode(generated[:-1] if ended else generated)
        self.answers.append((ended, text))
        return text


class Conversation:
    """One game in a slot of a policy, kept by hand as well."""

    def __init__(self, agent: Policy, slot: int, game: PlayableGame) -> None:
        self.agent, self.slot = agent, slot
        self.environment: Environment = game.environment()
        self.observation = self.environment.reset()
        self.first, self.turns = self.observation.text, list[Turn]()
        agent.begin(slot, State("e", self.first, (), self.observation))

    def take(self, response: str) -> None:
        answer = parse_answer(response)
        self.observation = self.environment.step(answer.action)
        turn = Turn(answer.reason, answer.action, self.observation.text, response)
        self.turns.append(turn)
        self.agent.observe(self.slot, turn, self.observation)


@pytest.fixture(scope="module")
def babbling_folder(policy_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The checkpoint of a policy with random weights so large that all it reads changes what it says."""
    folder = tmp_path_factory.mktemp("babbling")
    model = checkpoints.load_policy(policy_folder)
    with torch.no_grad():
        for weights in model.parameters():
            weights.mul_(8 if weights.dim() > 1 else 1)
    checkpoints.save(model, checkpoints.load_tokenizer(policy_folder), folder)
    return folder


@pytest.mark.parametrize(
    ("dialogue", "new", "ended"),
    # The taught one ends its answers, but for a low limit; the restated prompt is nothing that it was taught to answer.
    [("append", LONG_ENOUGH, True), ("append", 5, False), ("restated", LONG_ENOUGH, False)],
)
def test_greedy_answers_are_those_of_generate(
    taught_folder: Path,
    babbling_folder: Path,
    household_games: list[PlayableGame],
    dialogue: Format,
    new: int,
    ended: bool,
) -> None:
    folder = taught_folder if dialogue == "append" else babbling_folder
    agent, reader = policy(folder, dialogue=dialogue, new=new), Reader(folder, dialogue, new)
    waiting = iter(household_games)
    held = {slot: Conversation(agent, slot, next(waiting)) for slot in range(4)}
    for turn in range(5):
        # Slot 1 takes another game after two turns; slot 2 pauses for one.
        if turn == 2:
            held[1] = Conversation(agent, 1, next(waiting))
        slots = [slot for slot in held if (slot, turn) != (2, 3)]
        expected = [reader.answer(held[s].first, held[s].turns, held[s].observation) for s in slots]
        assert [answer.text for answer in agent.act(slots)] == expected
        for slot, response in zip(slots, expected, strict=True):
            held[slot].take(response)
    assert len({text for _, text in reader.answers}) > 1, "they do not all say the same"
    assert ended in {ended for ended, _ in reader.answers}, "some end, or some are cut"


def test_a_conversation_may_begin_in_its_middle(taught_folder: Path, demonstrations: list[Episode]) -> None:
    agent, reader = policy(taught_folder, slots=2), Reader(taught_folder, "append")
    seen = Observation("", (), reward=0.0, done=False)
    begun = [(demonstrations[0], 2), (demonstrations[1], 4)]
    for slot, (episode, turns) in enumerate(begun):
        agent.begin(slot, State("e", episode.first_observation, episode.turns[:turns], seen))
    expected = [reader.answer(episode.first_observation, list(episode.turns[:t]), seen) for episode, t in begun]
    assert [answer.text for answer in agent.act([0, 1])] == expected


@pytest.mark.parametrize("slots", [1, 5, 12])
def test_greedy_episodes_do_not_depend_on_the_number_of_slots(
    taught_folder: Path, household_games: list[PlayableGame], slots: int
) -> None:
    def episodes(slots: int) -> list[Episode]:
        starts = whole_episodes(household_games, 1)
        return play(policy(taught_folder, slots=slots), starts, max_steps=4, total=12, monitor=SilentMonitor())

    assert episodes(slots) == episodes(3)


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_proposals_are_not_remembered(taught_folder: Path, demonstrations: list[Episode], temperature: float) -> None:
    agent, other = policy(taught_folder, slots=1), policy(taught_folder, slots=1)
    seen = Observation("", (), reward=0.0, done=False)
    for player in (agent, other):
        player.begin(0, State("e", demonstrations[0].first_observation, (), seen))
    (proposals,) = agent.propose([0], 6, temperature)
    assert len(proposals) == 6
    assert (len(set(proposals)) == 1) is (temperature == 0)
    agent.begin(0, State("e", demonstrations[0].first_observation, (), seen))
    assert agent.act([0]) == other.act([0])


@pytest.mark.parametrize("slots", [1, 5])
def test_sampled_episodes_do_not_depend_on_the_number_of_slots_either(
    taught_folder: Path, household_games: list[PlayableGame], slots: int
) -> None:
    def episodes(slots: int) -> list[Episode]:
        starts, agent = whole_episodes(household_games, 2), policy(taught_folder, temperature=1.0, slots=slots)
        return play(agent, starts, max_steps=4, total=24, monitor=SilentMonitor())

    assert episodes(slots) == episodes(24)


def test_the_seed_decides_what_is_sampled(taught_folder: Path, household_games: list[PlayableGame]) -> None:
    def episodes(seed: int) -> list[Episode]:
        agent = policy(taught_folder, temperature=1.0, seed=seed)
        return play(agent, whole_episodes(household_games[:3], 2), max_steps=3, total=6, monitor=SilentMonitor())

    assert episodes(1) == episodes(1)
    assert episodes(1) != episodes(2)


def test_a_conversation_that_outgrows_the_context_is_told(
    tokenizer: PreTrainedTokenizerFast, policy_folder: Path, household_games: list[PlayableGame]
) -> None:
    model = checkpoints.load_policy(policy_folder)
    model.config.max_position_embeddings = 150
    agent = Policy(
        EmbeddedEngine(model, conversations=2), Chat(tokenizer, WORDING), dialogue="append", slots=2, temperature=0,
        max_new_tokens=LONG_ENOUGH, seed=0)  # fmt: skip
    starts = whole_episodes(household_games[:2], 1)
    message = r"a conversation needs \d+ tokens, the model holds 150: raise its context or lower max_steps"
    with pytest.raises(ContextOverflow, match=message):
        play(agent, starts, max_steps=30, total=2, monitor=SilentMonitor())
