"""Whether a pretrained model is computed here as transformers computes it: tried once, before anything is made with it.

Answers are drawn in a short and in a longer conversation by the cached sampler, and scored by what training uses: the
loss of SFT, token trees, and a PRM's head. Each number is compared with a plain forward of the same weights in float32,
with the attention that transformers calls eager. A model with a sliding window has it cut for the trial, so that it
ends within the conversations whatever its length.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite
from pathlib import Path

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from agentprm_dagster.engine import checkpoints
from agentprm_dagster.engine.architectures import ArchitectureError, context_of
from agentprm_dagster.engine.chat import TRIAL_START, TRIAL_TURNS, Chat
from agentprm_dagster.engine.checkpoint_files import CheckpointError
from agentprm_dagster.engine.drawing import shares_of
from agentprm_dagster.engine.embedded.attention import use_grouped_attention
from agentprm_dagster.engine.embedded.sampling import Sampler
from agentprm_dagster.engine.embedded.slots import SlotModel
from agentprm_dagster.engine.heads import language_head
from agentprm_dagster.episodes.dialogue import Format, Wording
from agentprm_dagster.episodes.records import Episode
from agentprm_dagster.episodes.tokens import EpisodeTokens
from agentprm_dagster.training.candidates import Candidate, CandidateTrees
from agentprm_dagster.training.sft import Row, answers_work

TOLERANCE = 1e-3
"""Largest difference of an answer's mean log-probability a token, in nats, and of a PRM's logit."""

WINDOW = 24
"""Tokens that a sliding window is cut to."""

_ANSWERS, _NEW_TOKENS = 2, 8


@dataclass(frozen=True, slots=True)
class Drawn:
    """Answers and the conversations they were drawn in."""

    prompts: list[list[int]]
    answers: list[list[int]]
    """As drawn; the end token is there where the answer ended by itself."""
    trees: CandidateTrees
    log_probabilities: torch.Tensor
    """(N,) as the sampler says."""

    @property
    def rows(self) -> list[list[int]]:
        """Each answer behind its conversation."""
        return [prompt + answer for prompt, answer in zip(self.prompts, self.answers, strict=True)]


def require_exact_model(folder: Path, wording: Wording, dialogue: Format) -> None:
    """Tries a checkpoint in a dialogue format.

    Raises:
        CheckpointError: the folder cannot be loaded, or its tokenizer has more tokens than the model.
        ChatTemplateError: its chat template cannot write dialogues in this format.
        ArchitectureError: the model is not computed here as transformers computes it.
    """
    chat = Chat(checkpoints.load_tokenizer(folder), wording)
    chat.require(dialogue)
    try:
        differences, drawn = policy_differences(folder, chat, dialogue)
        differences |= value_differences(folder, drawn)
    except (ArchitectureError, CheckpointError):
        raise
    except Exception as error:  # a foreign model can fail in any way where it is run as it is here
        raise ArchitectureError(
            f"{folder} cannot be computed here ({type(error).__name__}: {error}): use another model (docs/models.md)"
        ) from error
    if off := {name: each for name, each in differences.items() if not (isfinite(each) and each <= TOLERANCE)}:
        raise ArchitectureError(
            f"{folder}: what is computed here differs from transformers' own forward, in nats a token and in a PRM's "
            f"logit: {', '.join(f'{name} {each:.3g}' for name, each in off.items())}; expected at most {TOLERANCE:g}: "
            "use another model (docs/models.md)"
        )


def policy_differences(folder: Path, chat: Chat, dialogue: Format) -> tuple[dict[str, float], Drawn]:
    """How far the sampler, the loss of SFT and token trees are from transformers, and the answers that were scored.

    The largest difference among the answers, each the mean over its tokens, in nats.
    """
    model = _cut_window(checkpoints.load_policy(folder))
    _require_vocabulary(model, chat.tokenizer, folder)
    use_grouped_attention(model)
    drawn = _draw(model, chat, dialogue)
    sums = {
        "sampler": drawn.log_probabilities,
        "SFT loss": _by_loss(model, drawn),
        "token trees": _by_trees(model, drawn),
    }
    _as_transformers(model)
    truth = _by_forward(model, drawn)
    tokens = torch.tensor([float(len(answer)) for answer in drawn.answers])
    return {name: _largest(each / tokens, truth / tokens) for name, each in sums.items()}, drawn


def value_differences(folder: Path, drawn: Drawn) -> dict[str, float]:
    """How far a PRM's logits at the ends of these answers are from transformers', the largest difference."""
    prm = _cut_window(checkpoints.prm_from_policy(folder, seed=0)).eval()
    use_grouped_attention(prm)
    with torch.inference_mode():
        cache = SlotModel(prm, slots=len(drawn.rows), capacity=max(map(len, drawn.rows)))
        in_slots = prm.score(cache.feed(range(len(drawn.rows)), drawn.rows)).squeeze(-1).cpu()
        in_trees = drawn.trees.values(prm).cpu()
        _as_transformers(prm)
        prm.config.pad_token_id = None  # the last token is read, whatever it is
        truth = torch.cat([prm(input_ids=_row(prm, row)).logits.flatten() for row in drawn.rows]).cpu()
    return {"PRM in slots": _largest(in_slots, truth), "PRM in token trees": _largest(in_trees, truth)}


def _largest(values: torch.Tensor, truth: torch.Tensor) -> float:
    return float((values - truth).abs().max())


def _require_vocabulary(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
    known = model.get_input_embeddings().weight.shape[0]
    if len(tokenizer) > known:
        raise CheckpointError(
            f"{folder}: its tokenizer has {len(tokenizer)} tokens and its model reads {known}: expected no more"
        )


def _cut_window(model: PreTrainedModel) -> PreTrainedModel:
    if getattr(model.config, "sliding_window", None):
        model.config.sliding_window = WINDOW
    return model


def _as_transformers(model: PreTrainedModel) -> None:
    """Eager attention where the architecture can be switched to it."""
    if model._supports_attention_backend:
        model.set_attn_implementation("eager")


def _trial(chat: Chat, dialogue: Format) -> list[EpisodeTokens]:
    """A state before the first answer and one behind it: as short as shows all, as a large model takes its time."""
    episode = Episode("trial", "trial", "pick_and_place_simple", TRIAL_START, TRIAL_TURNS[:2], reward=1.0)
    return chat.conversations(episode, dialogue)


@torch.inference_mode()
def _draw(model: PreTrainedModel, chat: Chat, dialogue: Format) -> Drawn:
    model.eval()
    trial = _trial(chat, dialogue)
    states = [(i, j) for i, read in enumerate(trial) for j in range(len(read.states))]
    conversations = [trial[i].ids[: trial[i].states[j]] for i, j in states]
    longest = max(map(len, conversations))
    if longest + _ANSWERS * _NEW_TOKENS > context_of(model.config):
        raise ArchitectureError(
            f"{model.config.name_or_path} reads at most {context_of(model.config)} tokens, a first dialogue has "
            f"{longest}: use a model of a longer context"
        )
    cache = SlotModel(model, slots=len(states), capacity=longest + _ANSWERS * _NEW_TOKENS)
    sampler = Sampler(cache, language_head(model), end=chat.end, banned=chat.never_drawn(model.config.vocab_size))
    sampled = sampler.draw(
        range(len(states)),
        cache.feed(range(len(states)), conversations)[:, None].expand(-1, _ANSWERS, -1),
        cache.lengths[:, None].expand(-1, _ANSWERS),
        temperature=1.0,
        shares=shares_of(range(len(states)), _ANSWERS, _NEW_TOKENS),
    )
    owners = [i for i in range(len(states)) for _ in range(_ANSWERS)]
    sequences = [
        pair for each in zip(sampled.tokens, sampled.finished, strict=True) for pair in zip(*each, strict=True)
    ]
    answers = [[*ids, chat.end] if finished else ids for ids, finished in sequences]
    candidates = [Candidate(states[i], tuple(answer), 1) for i, answer in zip(owners, answers, strict=True)]
    trees = CandidateTrees(trial, candidates)
    return Drawn([conversations[i] for i in owners], answers, trees, sampled.log_probabilities.flatten())


def _row(model: PreTrainedModel, ids: Sequence[int]) -> torch.Tensor:
    return torch.tensor([list(ids)], device=model.device)


@torch.inference_mode()
def _by_loss(model: PreTrainedModel, drawn: Drawn) -> torch.Tensor:
    """As SFT computes it, in training."""
    model.train()
    work, sums = answers_work(model), []
    for prompt, row in zip(drawn.prompts, drawn.rows, strict=True):
        labels = [-100] * len(prompt) + row[len(prompt) :]
        (piece,) = work([Row(row, labels)])
        terms, _ = piece.read()
        sums.append(-float(terms["tokens"].total))
    model.eval()
    return torch.tensor(sums)


@torch.inference_mode()
def _by_trees(model: PreTrainedModel, drawn: Drawn) -> torch.Tensor:
    return drawn.trees.log_probabilities(model).cpu()


@torch.inference_mode()
def _by_forward(model: PreTrainedModel, drawn: Drawn) -> torch.Tensor:
    """As transformers computes it."""
    sums = []
    for prompt, row in zip(drawn.prompts, drawn.rows, strict=True):
        ids = _row(model, row)
        log_p = model(input_ids=ids).logits.float().log_softmax(-1)[0, :-1]
        sums.append(float(log_p.gather(-1, ids[0, 1:, None])[len(prompt) - 1 :].sum()))
    return torch.tensor(sums)
