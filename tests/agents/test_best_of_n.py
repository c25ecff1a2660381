"""Best-of-N with caches chooses what scoring every whole conversation from its start would choose."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import pytest
import torch
from transformers import PreTrainedModel

from agentprm_dagster.agents.best_of_n import BestOfN, Judge, LogRatioJudge, PrmJudge
from agentprm_dagster.config import Model
from agentprm_dagster.engine import checkpoints
from agentprm_dagster.engine.base import ContextOverflow, Sampled
from agentprm_dagster.engine.chat import Chat
from agentprm_dagster.engine.embedded.engine import EmbeddedEngine
from agentprm_dagster.engine.embedded.model import build_model
from agentprm_dagster.engine.tokenizer import build_tokenizer
from agentprm_dagster.envs.alfworld.language import WORDING
from agentprm_dagster.episodes.dialogue import write_answer
from agentprm_dagster.episodes.parsing import may_be_chosen
from agentprm_dagster.episodes.records import Episode, Observation, Response, State, Turn

T = TypeVar("T")

FIRST = "You are in the middle of a room. You see a shelf 1, and a mug 2.\n\nYour task is to: put a mug in shelf."
TEXTS = [FIRST, write_answer("I look for a mug.", "go to shelf 1"), "You arrive at shelf 1. On it, you see a mug 2."]
START = Observation(FIRST, ("go to shelf 1", "look"), reward=0.0, done=False)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("policy")
    tokenizer = build_tokenizer(TEXTS * 30)
    settings = Model(hidden_size=32, layers=2, heads=2, intermediate_size=64)
    checkpoints.save(build_model(settings, tokenizer, seed=0), tokenizer, folder)
    return folder


def agent(
    checkpoint: Path, n: int, prior: float = 0.0, slots: int = 3, judged_by: PreTrainedModel | None = None
) -> BestOfN:
    chat = Chat(checkpoints.load_tokenizer(checkpoint), WORDING)
    prm = checkpoints.prm_from_policy(checkpoint, seed=1)
    kind = LogRatioJudge if judged_by else PrmJudge
    return BestOfN(
        EmbeddedEngine(checkpoints.load_policy(checkpoint), conversations=slots),
        chat,
        kind(EmbeddedEngine(judged_by or prm, conversations=slots), chat, "append"),
        n=n,
        prior=prior,
        dialogue="append",
        slots=slots,
        temperature=1.5,
        max_new_tokens=12,
        seed=3,
    )


def noting(work: Callable[..., T], answers: list[T]) -> Callable[..., T]:
    """The same work, whose answers are kept."""

    def noted(*arguments: object) -> T:
        answers.append(work(*arguments))
        return answers[-1]

    return noted


@pytest.mark.parametrize(("prior", "together"), [(0.0, 5), (0.5, 5), (0.5, 2)])
def test_it_keeps_the_answer_that_ranks_first(
    checkpoint: Path, monkeypatch: pytest.MonkeyPatch, prior: float, together: int
) -> None:
    player = agent(checkpoint, n=5, prior=prior)
    seen: list[torch.Tensor] = []
    monkeypatch.setattr(EmbeddedEngine, "_together", lambda engine, rows, tokens: together)
    scores = PrmJudge.scores

    def watched(judge: PrmJudge, *arguments: Any) -> torch.Tensor:
        seen.append(scores(judge, *arguments))
        return seen[-1]

    draws: list[Sampled] = []
    monkeypatch.setattr(PrmJudge, "scores", watched)
    monkeypatch.setattr(player, "_draw", noting(player._draw, draws))
    prm, policy = checkpoints.prm_from_policy(checkpoint, seed=1).eval(), checkpoints.load_policy(checkpoint).eval()
    histories = {slot: player.chat.prompt(WORDING.conversation(FIRST, [], last_observation=True)) for slot in (0, 2)}
    for slot in histories:
        player.begin(slot, State("e", FIRST, (), START))
    for _ in range(3):
        answers = player.act([0, 2])
        for row, slot in enumerate((0, 2)):
            scored = [score(prm, [*histories[slot], *ids, player.chat.end]) for ids in draws[-1].tokens[row]]
            assert seen[-1][row].tolist() == pytest.approx(scored, abs=1e-4)
            said = [log_probability(policy, histories[slot], [*ids, player.chat.end]) for ids in draws[-1].tokens[row]]
            ranks = [q + prior * log_p for q, log_p in zip(scored, said, strict=True)]
            best = draws[-1].tokens[row][max(range(5), key=ranks.__getitem__)]
            assert answers[row].tokens == tuple(best)
            assert answers[row].text == player.chat.decode(best)
            observation = "Nothing happens." * (slot + 1)
            histories[slot] += [*best, player.chat.end, *player.chat.follow_up(observation)]
            turn = Turn(reason="", action="", observation=observation, response=answers[row].text)
            player.observe(slot, turn, START)


def test_without_a_prm_it_keeps_what_improvement_made_likelier(
    checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The judge is a policy before: here one with other weights. Answers that were cut have no end token."""
    torch.manual_seed(5)
    before = checkpoints.load_policy(checkpoint)
    for weight in before.parameters():
        weight.data += 0.02 * torch.randn_like(weight)
    player = agent(checkpoint, n=5, judged_by=before)
    draws: list[Sampled] = []
    monkeypatch.setattr(player, "_draw", noting(player._draw, draws))
    policy, history = (
        checkpoints.load_policy(checkpoint).eval(),
        player.chat.prompt(WORDING.conversation(FIRST, [], last_observation=True)),
    )
    player.begin(1, State("e", FIRST, (), START))
    chosen = set()
    for _ in range(4):
        (answer,) = player.act([1])
        (answers,), (finished,) = draws[-1].tokens, draws[-1].finished
        said = [[*ids, player.chat.end] if ended else ids for ids, ended in zip(answers, finished, strict=True)]
        ratios = [log_probability(policy, history, ids) - log_probability(before, history, ids) for ids in said]
        best = max(range(5), key=ratios.__getitem__)
        assert answer == player.chat.drawn(answers[best], cut=not finished[best])
        chosen.add(best)
        history += [*answers[best], player.chat.end, *player.chat.follow_up("Nothing happens.")]
        player.observe(1, Turn(reason="", action="", observation="Nothing happens.", response=answer.text), START)
    assert len(chosen) > 1, "not always the first"


@torch.no_grad()
def log_probability(policy: torch.nn.Module, before: list[int], answer: list[int]) -> float:
    logits = policy(torch.tensor([before + answer])).logits[0, len(before) - 1 : -1]
    return float(logits.log_softmax(-1)[torch.arange(len(answer)), answer].sum())


@torch.no_grad()
def score(prm: Any, ids: list[int]) -> float:
    hidden = prm.base_model(input_ids=torch.tensor([ids])).last_hidden_state
    return float(prm.score(hidden[0, -1]))


def test_the_same_seed_gives_the_same_answers(checkpoint: Path) -> None:
    def play() -> list[Response]:
        player = agent(checkpoint, n=4)
        for slot in range(3):
            player.begin(slot, State("e", FIRST, (), START))
        return player.act(range(3))

    assert play() == play()


@pytest.mark.parametrize("kind", [PrmJudge, LogRatioJudge])
def test_what_may_not_be_chosen_is_not_while_another_is_there(
    taught_folder: Path, monkeypatch: pytest.MonkeyPatch, kind: type[Judge], demonstrations: list[Episode]
) -> None:
    """The judge likes nothing better than answers in another form, and log pi those that were cut."""
    judged_by = checkpoints.load_policy(taught_folder) if kind is LogRatioJudge else None
    player = agent(taught_folder, n=4, prior=0.1, judged_by=judged_by, slots=8)
    drawn: list[list[list[Response]]] = []
    scores = kind.scores
    monkeypatch.setattr(player, "_answers", noting(player._answers, drawn))

    def likes(judge: Judge, *arguments: Any) -> torch.Tensor:
        scores(judge, *arguments)
        return 100.0 * ~torch.tensor([[may_be_chosen(answer) for answer in each] for each in drawn[-1]])

    monkeypatch.setattr(kind, "scores", likes)
    chosen: list[Response] = []
    for _ in range(4):
        for slot in range(8):
            player.begin(slot, State("e", demonstrations[slot].first_observation, (), START))
        chosen += player.act(range(8))
    candidates = [each for several in drawn for each in several]
    able = [any(map(may_be_chosen, each)) for each in candidates]
    assert {True, False} == {may_be_chosen(answer) for each in candidates for answer in each}
    assert [may_be_chosen(answer) for answer in chosen] == able
    assert any(answer.cut for each, is_able in zip(candidates, able, strict=True) if is_able for answer in each)


def test_as_many_answers_are_read_together_as_have_room(checkpoint: Path) -> None:
    engine = EmbeddedEngine(checkpoints.load_policy(checkpoint), conversations=3)
    rows, tokens = torch.tensor([0, 2]), torch.zeros(2, 5, 12, dtype=torch.long)
    engine.cache.lengths[2] = 30
    for capacity, together in ((42, 1), (65, 2), (66, 3), (90, 5), (2048, 5)):
        engine.cache.capacity = capacity
        assert engine._together(rows, tokens) == together
    engine.cache.capacity = 41
    with pytest.raises(ContextOverflow, match="needs 42 tokens, the model holds 41"):
        engine._together(rows, tokens)
