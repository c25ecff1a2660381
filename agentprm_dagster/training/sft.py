"""Supervised fine-tuning on expert episodes: the paper's pi_0. One row an episode, loss on the agent's answers only."""

import math
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from statistics import fmean
from tempfile import TemporaryDirectory
from typing import Any

import datasets
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase
from trl import SFTConfig, SFTTrainer

from agentprm_dagster.config import Experiment, Sft
from agentprm_dagster.core.dialogue import Format, Message, conversation, restated_prompt
from agentprm_dagster.core.stage import Gate, Monitor, StageReport
from agentprm_dagster.core.types import Episode, Turn
from agentprm_dagster.models import checkpoints
from agentprm_dagster.models.base_model import base_folder
from agentprm_dagster.models.chat import Chat, EncodedEpisode
from agentprm_dagster.models.embedded import build_model
from agentprm_dagster.models.lean_layers import SHAPE_STEP, use_lean_layers
from agentprm_dagster.models.tokenizer import build_tokenizer
from agentprm_dagster.training.monitoring import watch
from agentprm_dagster.training.optimizers import build_optimizer
from agentprm_dagster.training.shards import Numbers, Shards, Work, shards_of
from agentprm_dagster.training.threads import training_threads


def train_initial_policy(
    episodes: Sequence[Episode],
    wandering: Sequence[Episode],
    experiment: Experiment,
    out: Path,
    *,
    seed: int,
    monitor: Monitor,
) -> StageReport:
    """Fine-tunes the experiment's model on won episodes and writes the checkpoint to `out`.

    A model built from scratch first reads the `wandering` episodes, if there are any, as a language model.
    """
    model, tokenizer = initial_model(episodes, wandering, experiment, seed=seed)
    chat = Chat(tokenizer)
    dataset = sft_dataset(episodes, chat, experiment.dialogue.format)
    use_lean_layers(model)
    tokens = experiment.sft.epochs * _tokens(dataset)
    if wandering:
        reading = experiment.sft.model_copy(update={"epochs": experiment.pretraining.epochs})
        read = reading_dataset(wandering, chat)
        fit(model, tokenizer, read, reading, seed=seed, monitor=monitor)
        tokens += reading.epochs * _tokens(read)
    result = fit(model, tokenizer, dataset, experiment.sft, seed=seed, monitor=monitor)
    checkpoints.save(model, tokenizer, out)
    metrics = {
        "train_loss": result["train_loss"],
        "steps": result["steps"],
        "episodes": len(dataset),
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
    return StageReport(metrics, (finite,), f"Fine-tuned on {len(dataset)} episodes, loss {result['train_loss']:.4f}.")


def initial_model(
    episodes: Sequence[Episode], wandering: Sequence[Episode], experiment: Experiment, *, seed: int
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """The model before fine-tuning: built for the corpus, or loaded by name or path."""
    if experiment.model.name != "embedded":
        base = base_folder(experiment.model)
        return checkpoints.load_policy(base), checkpoints.load_tokenizer(base)
    messages = chain(_messages(episodes, experiment.dialogue.format), _messages(wandering, "append"))
    tokenizer = build_tokenizer(message["content"] for message in messages)
    return build_model(experiment.model, tokenizer, seed=seed), tokenizer


def _messages(episodes: Sequence[Episode], dialogue: Format) -> Iterator[Message]:
    for episode in episodes:
        yield from conversation(episode.first_observation, episode.turns)
        if dialogue == "restated":
            *before, last = episode.turns
            yield from restated_prompt(episode.first_observation, before, last.candidates)


def sft_dataset(episodes: Sequence[Episode], chat: Chat, dialogue: Format = "append") -> datasets.Dataset:
    """Rows of `input_ids` and `labels`: -100 but on the agent's own tokens, end tokens included.

    One row an episode; one a turn where every turn restates the history. An answer that could not be done is a mistake
    that stands there to be recovered from: it is read, but not learnt.
    """
    rows = []
    for encoded, turns in (row for episode in episodes for row in _encoded(chat, episode, dialogue)):
        labels = [-100] * len(encoded.ids)
        for turn, (start, end) in zip(turns, encoded.answers, strict=True):
            if turn.admissible:
                labels[start:end] = encoded.ids[start:end]
        rows.append({"input_ids": encoded.ids, "labels": labels})
    return datasets.Dataset.from_list(rows)


def reading_dataset(episodes: Sequence[Episode], chat: Chat) -> datasets.Dataset:
    """Rows of `input_ids` and `labels`, one an episode: all that follows the opening is learnt, replies included."""
    rows = []
    for episode in episodes:
        encoded = chat.episode(episode.first_observation, episode.turns)
        ids = encoded.ids + chat.follow_up(episode.turns[-1].observation)
        opening = encoded.answers[0][0]
        rows.append({"input_ids": ids, "labels": [-100] * opening + ids[opening:]})
    return datasets.Dataset.from_list(rows)


def _tokens(dataset: datasets.Dataset) -> int:
    return sum(map(len, dataset["input_ids"]))


def _encoded(chat: Chat, episode: Episode, dialogue: Format) -> Iterator[tuple[EncodedEpisode, Sequence[Turn]]]:
    """Rows with the turns whose answers each holds."""
    if dialogue == "append":
        yield chat.episode(episode.first_observation, episode.turns), episode.turns
        return
    for t, turn in enumerate(episode.turns):
        if turn.admissible:
            yield chat.restated(episode.first_observation, episode.turns[: t + 1]), [turn]


class AnswersTrainer(SFTTrainer):
    """TRL's SFTTrainer, with logits for the learnt tokens alone, and every batch cut into shards.

    TRL's own head does the former where there is Triton; elsewhere it reads the vocabulary at every position of the
    row.
    """

    shards: Shards

    def training_step(
        self,
        model: PreTrainedModel,
        inputs: dict[str, torch.Tensor],
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> torch.Tensor:
        """Leaves the gradient of the mean over all learnt tokens; that mean."""
        if shards_of(model) == 1:
            return super().training_step(model, inputs, num_items_in_batch)
        parts = _cut(inputs, shards_of(model))
        share = int((inputs["labels"][:, 1:] != -100).sum()) / len(parts)
        numbers = self.shards.backward([(part, share) for part in parts])
        self._note(inputs, {name: fmean(said[name] for said in numbers) for name in ("entropy", "mean_token_accuracy")})
        return torch.tensor(fmean(said["loss"] for said in numbers))

    def compute_loss(
        self,
        model: PreTrainedModel,
        inputs: dict[str, torch.Tensor],
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> Any:
        """The mean negative log-likelihood of the learnt tokens, in nats."""
        if return_outputs or inputs["input_ids"].is_cuda:
            return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
        share = (inputs["labels"][:, 1:] != -100).sum() if num_items_in_batch is None else num_items_in_batch
        loss, told = answers_work(model)((inputs, share))
        self._note(inputs, told)
        return loss

    def _note(self, inputs: dict[str, torch.Tensor], told: dict[str, float]) -> None:
        """The numbers that TRL logs beside the loss."""
        numbers = self._metrics["train" if self.model.training else "eval"]
        for name in ("entropy", "mean_token_accuracy"):
            numbers[name].append(told[name])
        if self.model.training:
            self._total_train_tokens += int(inputs["attention_mask"].sum())
        numbers["num_tokens"] = [self._total_train_tokens]


def answers_work(model: PreTrainedModel, shard: int = 0) -> Work:
    """From (inputs, share) to the learnt tokens' summed negative log-likelihood over `share`, in nats."""

    def work(part: tuple[dict[str, torch.Tensor], float]) -> tuple[torch.Tensor, Numbers]:
        inputs, share = part
        # Rows are padded at their ends, where no real token looks.
        trunk = model.base_model(input_ids=inputs["input_ids"], use_cache=False)
        learnt = inputs["labels"][:, 1:] != -100
        labels = inputs["labels"][:, 1:][learnt]
        log_p = model.get_output_embeddings()(trunk.last_hidden_state[:, :-1][learnt]).float().log_softmax(-1)
        loss = -log_p.gather(-1, labels[:, None]).sum() / share
        said = log_p.detach()
        return loss, {
            "loss": float(loss.detach()),
            "entropy": float(-(said.exp() * said).sum(-1).mean()),
            "mean_token_accuracy": float((said.argmax(-1) == labels).float().mean()),
        }

    return work


def _cut(inputs: dict[str, torch.Tensor], count: int) -> list[dict[str, torch.Tensor]]:
    """A batch's rows in at most so many parts, without the columns where all of a part is padding."""
    parts = []
    for mask, ids, labels in zip(
        *(inputs[name].tensor_split(count) for name in ("attention_mask", "input_ids", "labels")), strict=True
    ):
        if len(ids):
            width = -(-int(mask.sum(-1).max()) // SHAPE_STEP) * SHAPE_STEP
            parts.append({"input_ids": ids[:, :width].clone(), "labels": labels[:, :width].clone()})
    return parts


def fit(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    dataset: datasets.Dataset,
    settings: Sft,
    *,
    seed: int,
    monitor: Monitor,
) -> dict[str, float]:
    """Runs TRL's SFTTrainer to the end of its plan."""
    optimizer = build_optimizer(
        model, settings.optimizer, learning_rate=settings.learning_rate, weight_decay=settings.weight_decay
    )
    with TemporaryDirectory() as folder:
        args = SFTConfig(
            output_dir=folder,
            num_train_epochs=settings.epochs,
            per_device_train_batch_size=settings.batch_episodes,
            lr_scheduler_type="cosine",
            warmup_steps=settings.warmup_ratio,
            max_grad_norm=1.0,
            train_sampling_strategy="group_by_length",
            max_length=None,
            pad_to_multiple_of=SHAPE_STEP,
            bf16=False,
            activation_checkpointing=False,
            seed=seed,
            logging_steps=10,
            logging_nan_inf_filter=False,  # which would call a loss of NaN 0, and hide it from the gate
            report_to=[],
            save_strategy="no",
            disable_tqdm=True,
            use_cpu=not torch.cuda.is_available(),
        )
        trainer = AnswersTrainer(
            model=model,
            args=args,
            train_dataset=dataset,
            processing_class=tokenizer,
            optimizers=(optimizer, None),
        )
        watch(trainer, monitor)
        planned = settings.epochs * _tokens(dataset)
        with training_threads(model), Shards(model, answers_work, tokens=planned) as trainer.shards:
            outcome = trainer.train()
    return {"train_loss": outcome.training_loss, "steps": outcome.global_step}
