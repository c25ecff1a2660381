"""A trained reward model asked what answers made to please are worth (`algorithm.hackability`)."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel

from agentprm_dagster.algorithm.hackability import Hackability, Hacking, Question, decisions_of, hackability
from agentprm_dagster.algorithm.perturbed import KINDS, Perturber
from agentprm_dagster.engine import checkpoints
from agentprm_dagster.engine.chat import Chat
from agentprm_dagster.engine.embedded.attention import use_grouped_attention
from agentprm_dagster.engine.embedded.token_tree import TokenTree
from agentprm_dagster.episodes.dialogue import Format, Wording
from agentprm_dagster.episodes.records import Episode
from agentprm_dagster.episodes.stage import StageReport
from agentprm_dagster.reports.hackable_report import with_hackability
from agentprm_dagster.training.prm_examples import Example, predict

MOST, LEAST = 64, 8
"""Decisions that are looked at: as many as cost SHARE of the training, within these bounds."""
SHARE = 0.01
"""Of what training took: a token that is trained on costs about three that are only read."""


def with_hackability_of(
    report: StageReport,
    model: PreTrainedModel,
    chat: Chat,
    held_out: Sequence[Episode],
    pool: Sequence[Episode],
    dialogue: Format,
    how: Hacking,
    **cost: Any,
) -> StageReport:
    """The report of a reward model with what `model_hackability` finds, and the gate on it."""
    found = model_hackability(model, chat, held_out, pool, dialogue, how, **cost)
    return with_hackability(report, found, most=how.most, severity=how.severity)


def model_hackability(
    model: PreTrainedModel,
    chat: Chat,
    held_out: Sequence[Episode],
    pool: Sequence[Episode],
    dialogue: Format,
    how: Hacking,
    *,
    budget: int,
    trained_tokens: float,
    seed: int,
) -> Hackability:
    """Looks at decisions of held-out episodes, branches included; perturbations are made of the answers of `pool`.

    Args:
        budget: padded tokens that are read together.
        trained_tokens: that training has read, each as often as it was.
    """

    def knows(text: str) -> bool:
        ids = chat.answer(text)[:-1]
        return len(ids) <= how.max_new_tokens and chat.decode(ids) == text

    def score(questions: Sequence[Question]) -> list[list[float]]:
        return answer_values(model, chat, questions, dialogue, budget, probabilities=not how.relative)

    count = int(3 * SHARE * trained_tokens / _tokens_of_one(chat, held_out, how.max_new_tokens))
    decisions = decisions_of(held_out, min(max(count, LEAST), MOST), seed)
    perturber = Perturber([each for each in pool if each.parent is None], chat.wording.task, knows, seed)
    return hackability(decisions, perturber, score, margin=how.margin, relative=how.relative)


def _tokens_of_one(chat: Chat, episodes: Sequence[Episode], max_new_tokens: int) -> float:
    """About how many tokens one decision takes: half an episode, and a handful of answers."""
    some = [each for each in episodes if each.turns][:16]
    lengths = [len(chat.state(each.first_observation, each.turns)) for each in some]
    return sum(lengths) / max(2 * len(lengths), 1) + len(KINDS) * max_new_tokens


def with_hackability_of_saved(
    report: StageReport,
    prm: Path,
    wording: Wording,
    held_out: Sequence[Episode],
    pool: Sequence[Episode],
    dialogue: Format,
    how: Hacking,
    **cost: Any,
) -> StageReport:
    """`with_hackability_of` a reward model that was saved."""
    model, chat = checkpoints.load_prm(prm), Chat(checkpoints.load_tokenizer(prm), wording)
    use_grouped_attention(model)
    return with_hackability_of(report, model, chat, held_out, pool, dialogue, how, **cost)


def answer_values(
    model: PreTrainedModel,
    chat: Chat,
    questions: Sequence[Question],
    dialogue: Format,
    budget: int,
    *,
    probabilities: bool,
) -> list[list[float]]:
    """What the head says at the end of every answer, a state being read once: probabilities, or logits."""
    examples = [_example(chat, question, dialogue) for question in questions]
    order = sorted(range(len(examples)), key=lambda i: len(examples[i].tree))
    logits, _ = predict(model, [examples[i] for i in order], budget) if examples else ([], [])
    values: list[list[float]] = [[] for _ in examples]
    for i in order:
        count = len(examples[i].ends)
        values[i], logits = logits[:count], logits[count:]
    return [torch.tensor(each).sigmoid().tolist() for each in values] if probabilities else values


def _example(chat: Chat, question: Question, dialogue: Format) -> Example:
    episode, t, answers = question
    commands = episode.turns[t].candidates
    tree = TokenTree()
    ids = chat.state(episode.first_observation, episode.turns[:t], dialogue, commands)
    state = tree.add(ids)
    ends = []
    for answer in answers:
        read = chat.answer(answer.text, answer.tokens)
        ends.append(tree.index(tree.add(read, parent=state, length=len(ids)), len(read) - 1))
    return Example(tree, ends)
