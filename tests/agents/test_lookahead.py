"""Model-predictive reasoning takes the answer whose predicted end the PRM likes best, as reading every text tells."""

from collections.abc import Sequence
from math import log
from pathlib import Path as File

import pytest
import torch
from transformers import PreTrainedModel

from agentprm_dagster.agents.best_of_n import PrmJudge, discounted
from agentprm_dagster.agents.learned_world import LearnedWorld
from agentprm_dagster.agents.lookahead import ModelPredictive
from agentprm_dagster.agents.oracle_world import OracleWorld, Transparent
from agentprm_dagster.agents.policy import Policy
from agentprm_dagster.agents.worlds import Path, World
from agentprm_dagster.config import Model, WorldModel
from agentprm_dagster.engine import checkpoints
from agentprm_dagster.engine.base import Sampled
from agentprm_dagster.engine.chat import Chat
from agentprm_dagster.engine.embedded.attention import use_grouped_attention
from agentprm_dagster.engine.embedded.engine import EmbeddedEngine
from agentprm_dagster.engine.embedded.model import build_model
from agentprm_dagster.engine.tokenizer import build_tokenizer
from agentprm_dagster.envs.alfworld.language import WORDING
from agentprm_dagster.envs.alfworld.playable import PlayableGame
from agentprm_dagster.episodes.dialogue import write_answer
from agentprm_dagster.episodes.parsing import may_be_chosen, parse_answer
from agentprm_dagster.episodes.records import Episode, Observation, Response, State, Turn
from agentprm_dagster.episodes.usage import Usage
from agentprm_dagster.launch.job import Job
from agentprm_dagster.training.tree_training import fit
from agentprm_dagster.training.world_model import loss_terms, score_replies, world_examples

GAMMA = 0.5
NOWHERE = Observation("", (), reward=0.0, done=False)


class ScriptedWorld:
    """Replies by rule: what was done lies in the reply. Answers with an even number of letters win."""

    def __init__(self) -> None:
        self.usage = Usage()
        self.asked: list[int] = []

    def begin(self, slot: int, state: State) -> None:
        pass

    def observe(self, slot: int, turn: Turn, observation: Observation) -> None:
        pass

    def replies(self, paths: Sequence[Path]) -> list[str]:
        self.asked.append(len(paths))
        return [replied(path.turns[-1].response) for path in paths]

    def over(self, paths: Sequence[Path]) -> list[bool]:
        return [wins(path.turns[-1].response) for path in paths]


def replied(answer: str) -> str:
    return "Nothing happens." if wins(answer) else "You see a mug 1."


def wins(answer: str) -> bool:
    return len(answer) % 2 == 0


def agent(folder: File, world: World, *, turns: int, prior: float = 0.02, temperature: float = 1.5) -> ModelPredictive:
    chat, prm = Chat(checkpoints.load_tokenizer(folder), WORDING), checkpoints.prm_from_policy(folder, seed=1)
    return ModelPredictive(
        EmbeddedEngine(checkpoints.load_policy(folder), conversations=5),
        chat,
        PrmJudge(EmbeddedEngine(prm, conversations=2), chat, "append"),
        world,
        n=4,
        turns=turns,
        gamma=GAMMA,
        at_once=3,
        prior=prior,
        dialogue="append",
        slots=2,
        temperature=temperature,
        max_new_tokens=14,
        seed=3,
    )


def watched(player: ModelPredictive, monkeypatch: pytest.MonkeyPatch) -> list[Sampled]:
    """The candidates of every turn, in the order of drawing."""
    draws: list[Sampled] = []
    draw = player._draw

    def note(slots: Sequence[int], candidates: int, temperature: float) -> Sampled:
        sampled = draw(slots, candidates, temperature)
        if candidates > 1:
            draws.append(sampled)
        return sampled

    monkeypatch.setattr(player, "_draw", note)
    return draws


@pytest.mark.parametrize("turns", [1, 2, 3])
@torch.no_grad()
def test_it_takes_the_answer_of_the_best_end(
    taught_folder: File, demonstrations: list[Episode], monkeypatch: pytest.MonkeyPatch, turns: int
) -> None:
    player = agent(taught_folder, ScriptedWorld(), turns=turns)
    draws, chat = watched(player, monkeypatch), player.chat
    prm = checkpoints.prm_from_policy(taught_folder, seed=1).eval()
    tokenizer = checkpoints.load_tokenizer(taught_folder)
    greedy = Policy(
        EmbeddedEngine(checkpoints.load_policy(taught_folder), conversations=1), Chat(tokenizer, WORDING),
        dialogue="append", slots=1, temperature=0, max_new_tokens=14, seed=0)  # fmt: skip

    def said(answer: Response) -> Turn:
        parsed = parse_answer(answer.text)
        return Turn(parsed.reason, parsed.action, replied(answer.text), answer.text, tokens=answer.tokens)

    def value(slot: int, drawn: list[int]) -> float:
        """logit(gamma^(turns - 1) Q), by reading the whole text."""
        path = [said(chat.drawn(drawn, cut=False))]
        ids = [*told[slot], *drawn, chat.end, *chat.follow_up(path[0].observation)]
        while len(path) < turns and not wins(path[-1].response):
            greedy.begin(0, State("e", firsts[slot], (*histories[slot], *path), NOWHERE))
            path.append(said(greedy.act([0])[0]))
            ids += chat.answer(path[-1].response, path[-1].tokens) + chat.follow_up(path[-1].observation)
        q = GAMMA ** (len(path) - 1) * float(prm(torch.tensor([ids])).logits.sigmoid())
        return log(q / (1 - q))

    firsts = [episode.first_observation for episode in demonstrations[:2]]
    histories: list[tuple[Turn, ...]] = [(), demonstrations[1].turns[:2]]
    told = [chat.state(first, history) for first, history in zip(firsts, histories, strict=True)]
    for slot in (0, 1):
        player.begin(slot, State("e", firsts[slot], histories[slot], NOWHERE))
    ranked_otherwise = 0
    for _ in range(8):
        answers = player.act([0, 1])
        sampled = draws[-1]
        for slot in (0, 1):
            tried = sampled.tokens[slot]
            assert len(set(map(chat.decode, tried))) > 1
            values = torch.tensor([value(slot, drawn) for drawn in tried])
            ranks = values + 0.02 * sampled.log_probabilities[slot]
            drawn = [chat.drawn(ids, cut=not ended) for ids, ended in zip(tried, sampled.finished[slot], strict=True)]
            if any(map(may_be_chosen, drawn)):
                ranks[[not may_be_chosen(answer) for answer in drawn]] = -torch.inf
            best = int(ranks.argmax())
            assert answers[slot] == drawn[best]
            ranked_otherwise += best != int(sampled.log_probabilities[slot].argmax())
            # What really happens is not what was predicted.
            turn = Turn("", "", "You arrive at shelf 1.", answers[slot].text, tokens=answers[slot].tokens)
            histories[slot] = (*histories[slot], turn)
            told[slot] += [*tried[best], chat.end, *chat.follow_up(turn.observation)]
            player.observe(slot, turn, NOWHERE)
    assert ranked_otherwise, "not always the likeliest"


def test_nothing_is_predicted_where_all_answers_agree(taught_folder: File, demonstrations: list[Episode]) -> None:
    world = ScriptedWorld()
    player = agent(taught_folder, world, turns=2, temperature=0.0)
    player.begin(0, State("e", demonstrations[0].first_observation, (), NOWHERE))
    player.act([0])
    assert world.asked == []


def test_tokens_by_hand(taught_folder: File, demonstrations: list[Episode], monkeypatch: pytest.MonkeyPatch) -> None:
    """Policy and PRM read the conversation, the one draws, the other reads the answers, and the replies predicted."""
    world = ScriptedWorld()
    player = agent(taught_folder, world, turns=1)
    draws, chat, first = watched(player, monkeypatch), player.chat, demonstrations[0].first_observation
    player.begin(0, State("e", first, (), NOWHERE))
    player.act([0])
    (sampled,) = draws
    answers = [chat.decode(ids) for ids in sampled.tokens[0]]
    predicted = sum(len(chat.follow_up(replied(answer))) for answer in answers)
    judged = sum(len(ids) + 1 for ids in sampled.tokens[0])  # an end token stands behind one that was cut, too
    assert world.usage.tokens == 2 * len(chat.state(first, [])) + sampled.count() + judged + predicted
    assert player.usage is world.usage, "one account for all models"


def test_a_perfect_world_model_foresees_what_the_oracle_sees(
    corpus: list[str], household_games: list[PlayableGame], tmp_path: File
) -> None:
    """A model that has learnt by heart what these answers lead to, two turns ahead; what is predicted decides all."""
    games = [Transparent(household_games[0])]
    commands = [(game, command) for game in games for command in game.environment().reset().admissible_commands]
    more = [game.environment().step(command).text for game, command in commands]
    tokenizer = build_tokenizer([*corpus, *more, "Nothing happens."])
    sizes = Model(hidden_size=32, layers=2, heads=4, kv_heads=1, intermediate_size=64)
    checkpoints.save(build_model(sizes, tokenizer, seed=0), tokenizer, tmp_path)
    seen = predicted(agent(tmp_path, OracleWorld(), turns=2), games)
    assert len({path.turns[0].observation for path in seen}) > 2
    learned = LearnedWorld(
        EmbeddedEngine(by_heart(tmp_path, games, seen), conversations=5),
        Chat(tokenizer, WORDING),
        slots=2,
        max_reply_tokens=64,
    )
    assert predicted(agent(tmp_path, learned, turns=2), games) == seen


@torch.inference_mode()
def predicted(player: ModelPredictive, games: Sequence[Transparent]) -> list[Path]:
    """Where a few commands at the start of each game would lead, by a player's account."""
    paths = []
    for slot, game in enumerate(games):
        start = game.environment().reset()
        player.begin(slot, State("e", start.text, (), start))
        elsewhere = [command for command in start.admissible_commands if command.startswith("go to")]
        for command in (elsewhere[0], elsewhere[-1], "take mug 99"):
            paths.append(Path(slot, []))
            paths[-1].answer(Response(write_answer("I look for a mug.", command)))
    player._draw(range(len(games)), 2, 1.0)
    for first in range(0, len(paths), player.at_once):
        player._predict(paths[first : first + player.at_once])
    return paths


def by_heart(folder: File, games: Sequence[Transparent], paths: Sequence[Path]) -> PreTrainedModel:
    """The policy after many lessons in what these paths lead to."""
    model, chat = checkpoints.load_policy(folder), Chat(checkpoints.load_tokenizer(folder), WORDING)
    use_grouped_attention(model)
    episodes = [
        Episode(str(i), game.id, game.kind, game.environment().reset().text, tuple(path.turns), reward=0.0)
        for i, path in enumerate(paths)
        for game in [games[path.slot]]
    ]
    settings = WorldModel(epochs=120, learning_rate=2e-2, batch_tokens=600)
    examples = world_examples(chat, episodes)
    fit(model, examples, loss_terms, settings, job=Job(seed=0))
    assert score_replies(model, chat, examples, 4096)["exact"].all()
    return model


def test_discounted_by_hand() -> None:
    logits = torch.tensor([0.0, 2.0, 30.0, -3.0])
    assert torch.equal(discounted(logits, torch.ones(4)), logits)
    half = discounted(logits, torch.full((4,), 0.5)).sigmoid()
    assert half.tolist() == pytest.approx((0.5 * logits.sigmoid()).tolist(), rel=1e-5)
