"""Supervised fine-tuning on expert episodes: the paper's pi_0. One row an episode, loss on the agent's answers only.

Loss and gradients are those of TRL's SFTTrainer on the same batch.
"""

import math
import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from agentprm_dagster.algorithm.terms import Items, Term, Terms
from agentprm_dagster.config import Model, Sft
from agentprm_dagster.engine import checkpoints
from agentprm_dagster.engine.architectures import require_length
from agentprm_dagster.engine.base_model import base_folder
from agentprm_dagster.engine.chat import Chat
from agentprm_dagster.engine.embedded.lean_layers import SHAPE_STEP, use_lean_layers
from agentprm_dagster.engine.embedded.model import build_model
from agentprm_dagster.engine.heads import chosen_log_probabilities
from agentprm_dagster.engine.tokenizer import build_tokenizer
from agentprm_dagster.episodes.dialogue import Format, Message, Wording
from agentprm_dagster.episodes.records import Episode
from agentprm_dagster.episodes.stage import Gate, StageReport
from agentprm_dagster.launch.device import place_trained, training_threads
from agentprm_dagster.launch.gradients import gradients
from agentprm_dagster.launch.job import Job
from agentprm_dagster.launch.pieces import Numbers, Piece, Work
from agentprm_dagster.training.loop import Epochs, Plan, Training
from agentprm_dagster.training.pretrained import pretrained_policy
from agentprm_dagster.training.saving import save_trained

_BATCHES_SORTED = 50
"""Rows of so many batches are drawn before they are sorted by length: few tokens are padding, and batches differ."""


def train_initial_policy(
    episodes: Sequence[Episode],
    random_play: Sequence[Episode],
    base: Model,
    settings: Sft,
    wording: Wording,
    out: Path,
    *,
    dialogue: Format,
    reading_epochs: float = 0.0,
    job: Job,
) -> StageReport:
    """Fine-tunes a model on won episodes and writes the checkpoint to `out`.

    A model built from scratch first reads the `random_play` episodes, if there are any, as a language model, so many
    epochs.
    """
    model, tokenizer = initial_model(episodes, random_play, base, wording, dialogue, seed=job.seed)
    chat = Chat(tokenizer, wording)
    rows, dtype = sft_rows(episodes, chat, dialogue), getattr(torch, base.dtype)
    use_lean_layers(model)
    tokens = settings.epochs * tokens_in(rows)
    if random_play:
        reading = settings.model_copy(update={"epochs": reading_epochs})
        read = reading_rows(random_play, chat)
        fit(model, read, reading, job.part("pretraining"), dtype)
        tokens += reading.epochs * tokens_in(read)
    result = fit(model, rows, settings, job.part("sft"), dtype)
    save_trained(model, tokenizer, out, dtype)
    metrics = {
        "train_loss": result["train_loss"],
        "steps": result["steps"],
        "episodes": len(rows),
        "tokens": tokens,
        "parameters": sum(p.numel() for p in model.parameters()),
        "vocabulary": len(tokenizer),
    }
    finite = Gate(
        "finite_loss",
        math.isfinite(metrics["train_loss"]),
        f"the training loss is {metrics['train_loss']}; expected a finite number: lower sft.learning_rate",
        metrics["train_loss"],
    )
    return StageReport(metrics, (finite,), f"Fine-tuned on {len(rows)} episodes, loss {result['train_loss']:.4f}.")


def initial_model(
    episodes: Sequence[Episode],
    random_play: Sequence[Episode],
    base: Model,
    wording: Wording,
    dialogue: Format,
    *,
    seed: int,
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """The model before fine-tuning: built for the corpus, or loaded by name or path."""
    if base.name != "embedded":
        return pretrained_policy(base, seed=seed), checkpoints.load_tokenizer(base_folder(base))
    messages = chain(_messages(episodes, wording, dialogue), _messages(random_play, wording, "append"))
    tokenizer = build_tokenizer(message["content"] for message in messages)
    return build_model(base, tokenizer, seed=seed), tokenizer


def _messages(episodes: Sequence[Episode], wording: Wording, dialogue: Format) -> Iterator[Message]:
    for episode in episodes:
        yield from wording.conversation(episode.first_observation, episode.turns)
        if dialogue == "restated":
            *before, last = episode.turns
            yield from wording.prompt(episode.first_observation, before, last.candidates)


@dataclass(frozen=True, slots=True)
class Row:
    """One sequence to learn."""

    ids: list[int]
    labels: list[int]
    """As `ids`, and -100 for what is read but not learnt."""


def sft_rows(episodes: Sequence[Episode], chat: Chat, dialogue: Format = "append") -> list[Row]:
    """What of won episodes is learnt: the agent's own tokens, end tokens included.

    One row an episode; one a turn where every turn restates the history. An answer that could not be done is a mistake
    that stands there to be recovered from: it is read, but not learnt. So is what an episode has inherited.
    """
    rows = []
    for episode in episodes:
        for read in chat.conversations(episode, dialogue, range(episode.start, len(episode.turns))):
            asked = zip(read.turns, read.answers, strict=True)
            if learnt := [span for t, span in asked if episode.turns[t].admissible]:
                rows.append(row_of(read.ids, learnt))
    return rows


def row_of(ids: list[int], learnt: Iterable[tuple[int, int]]) -> Row:
    """A row whose tokens from start to end, of each of these spans, are learnt."""
    labels = [-100] * len(ids)
    for start, end in learnt:
        labels[start:end] = ids[start:end]
    return Row(ids, labels)


def reading_rows(episodes: Sequence[Episode], chat: Chat) -> list[Row]:
    """One row an episode, of which all that follows the opening is learnt, replies included."""
    rows = []
    for episode in episodes:
        (read,) = chat.conversations(episode)
        ids, opening = read.ids + chat.follow_up(episode.turns[-1].observation), read.states[0]
        rows.append(Row(ids, [-100] * opening + ids[opening:]))
    return rows


def tokens_in(rows: Sequence[Row]) -> int:
    """Tokens read in one pass, padding left out."""
    return sum(len(row.ids) for row in rows)


def answers_work(model: PreTrainedModel, shard: int = 0, most: int | None = None) -> Work:
    """From rows to pieces of at most so many padded tokens, whose loss is the learnt tokens' negative log-likelihood.

    In nats a token.
    """

    def read(rows: Sequence[Row]) -> tuple[Terms, Numbers]:
        log_p, _ = row_log_probabilities(model, rows)
        return {"tokens": Term(-log_p.sum(), len(log_p))}, {}

    def work(rows: Sequence[Row]) -> list[Piece]:
        return [Piece(partial(read, some), _items(some)) for some in (_pieces(rows, most) if most else [rows])]

    return work


def row_log_probabilities(model: PreTrainedModel, rows: Sequence[Row]) -> tuple[torch.Tensor, torch.Tensor]:
    """log p (N,), in nats, of the learnt tokens of some rows, one row after the other, and each one's row (N,)."""
    ids, labels = _padded(rows)
    require_length(model.config, ids.shape[1])
    row, before = (labels[:, 1:] != -100).nonzero(as_tuple=True)
    # All is sent before the model is run: a GPU that is sent something later is waited for.
    sent = (each.to(model.device) for each in (ids, row, before, labels[row, before + 1]))
    ids, row, before, learnt = sent
    # Rows are padded at their ends, where no real token looks.
    hidden = model.base_model(input_ids=ids, use_cache=False).last_hidden_state
    return chosen_log_probabilities(model, hidden[row, before], learnt), row


def _items(rows: Sequence[Row]) -> Items:
    return {"tokens": sum(label != -100 for row in rows for label in row.labels[1:])}


def _pieces(rows: Sequence[Row], most: int) -> Iterator[Sequence[Row]]:
    """The longest first, in pieces of at most so many tokens with their padding, or of one row."""
    left = sorted(rows, key=lambda row: -len(row.ids))
    while left:
        count = max(most // _width(left), 1)
        yield left[:count]
        left = left[count:]


def _width(rows: Sequence[Row]) -> int:
    """What rows are padded to."""
    return -(-max(len(row.ids) for row in rows) // SHAPE_STEP) * SHAPE_STEP


def _padded(rows: Sequence[Row]) -> tuple[torch.Tensor, torch.Tensor]:
    """Ids and labels (B, T) of some rows, T a multiple of SHAPE_STEP."""
    ids = torch.zeros(len(rows), _width(rows), dtype=torch.long)
    labels = torch.full_like(ids, -100)
    for i, row in enumerate(rows):
        ids[i, : len(row.ids)] = torch.tensor(row.ids)
        labels[i, : len(row.ids)] = torch.tensor(row.labels)
    return ids, labels


def fit(
    model: PreTrainedModel,
    rows: Sequence[Row],
    settings: Sft,
    job: Job,
    dtype: torch.dtype = torch.float32,
) -> dict[str, float]:
    """Trains in place, products in `dtype`; `train_loss`, the mean over the steps, and how many `steps` it took."""
    training = train_on(model, rows, settings, job, dtype)
    return {"train_loss": training.losses.mean, "steps": training.done}


def train_on(
    model: PreTrainedModel, rows: Sequence[Row], settings: Sft, job: Job, dtype: torch.dtype = torch.float32
) -> Training:
    """The same; the training once it is done, which has the loss of every step."""
    epochs = Epochs(lambda rng: _batches(rows, settings.batch_episodes, rng), job.seed)
    plan = Plan(
        epochs.steps(settings.epochs), settings.optimizer, settings.learning_rate, weight_decay=settings.weight_decay
    )
    place_trained(model, job.compute, dtype)
    model.train()
    training = Training(model, plan, job)

    def parts(step: int) -> list[Sequence[Row]]:
        batch, count = epochs.batch(step), shards.count
        return [part for shard in range(count) if (part := batch[shard::count])]

    tokens = settings.epochs * tokens_in(rows)
    most = job.compute.micro_batch_tokens
    with training_threads(model), gradients(model, answers_work, most, tokens=tokens, dtype=dtype) as shards:
        for _ in training.steps(shards, parts, "training steps"):
            pass
    return training


def _batches(rows: Sequence[Row], size: int, rng: random.Random) -> list[list[Row]]:
    """All rows once, rows of about the same length together: of some batches' worth at a time, drawn at random."""
    shuffled = rng.sample(rows, len(rows))
    batches = []
    for first in range(0, len(shuffled), size * _BATCHES_SORTED):
        some = sorted(shuffled[first : first + size * _BATCHES_SORTED], key=lambda row: len(row.ids))
        batches += [some[i : i + size] for i in range(0, len(some), size)]
    rng.shuffle(batches)
    return batches
