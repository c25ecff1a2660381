"""The world model: what the environment replies, learnt from episodes (model-predictive reasoning, section 4.3).

An ordinary causal language model, begun at a policy, that learns p(observation | dialogue, answer): the loss is on the
environment's words alone, up to the token that hands over to the agent. Behind a reply stands either the agent's next
answer or, where the game is over, nothing more: the model learns its first token, or the end token, so that it also
says when a predicted game is over.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import torch
from transformers import PreTrainedModel

from agentprm_dagster.algorithm.terms import Items, Term, Terms
from agentprm_dagster.config import WorldModel
from agentprm_dagster.engine import checkpoints
from agentprm_dagster.engine.chat import Chat
from agentprm_dagster.engine.embedded.token_tree import TokenTree
from agentprm_dagster.engine.heads import chosen_log_probabilities, language_head
from agentprm_dagster.episodes.dialogue import Wording
from agentprm_dagster.episodes.records import Episode, Turn
from agentprm_dagster.episodes.stage import StageReport
from agentprm_dagster.launch.device import computing
from agentprm_dagster.launch.job import Job
from agentprm_dagster.reports.world_report import Habits, world_report
from agentprm_dagster.training.episode_trees import families, family_trees
from agentprm_dagster.training.saving import save_trained
from agentprm_dagster.training.tree_training import batches_in_order, fit, hidden_at, tokens_in


@dataclass(frozen=True, slots=True)
class Reply:
    """One reply in a tree: each token is predicted at the place before it."""

    first: int
    """Where its text begins."""
    closing: int
    """Where the token behind its text stands, which is learnt with it."""
    last: int
    """Where the next answer would begin to be predicted."""
    follows: int | None
    """The first token of the next answer, or the end token where the game is over; None: the episode was broken off."""
    turn: Turn
    previous: str
    """What was observed before."""
    over: bool
    """Whether the game ended by this turn."""


@dataclass(frozen=True, slots=True)
class Example:
    """One tree and the replies in it."""

    tree: TokenTree
    replies: list[Reply]


def train_world_model(
    policy: Path,
    demonstrations: Sequence[Episode],
    rollouts: Sequence[Episode],
    settings: WorldModel,
    wording: Wording,
    out: Path,
    *,
    min_exact: float,
    held_out: set[str],
    job: Job,
) -> StageReport:
    """Trains on the games that are not held out, writes the checkpoint to `out`, and reports on those that are.

    `min_exact` is what the gate asks for (`reports.world_report`).
    """
    model, tokenizer = checkpoints.policy_to_train(policy), checkpoints.load_tokenizer(policy)
    dtype = checkpoints.stored_dtype(policy)
    chat = Chat(tokenizer, wording)

    def examples(unknown: bool) -> list[Example]:
        parts = ([each for each in part if (each.game in held_out) == unknown] for part in (demonstrations, rollouts))
        return [example for part in parts for example in world_examples(chat, part)]

    train, test = examples(unknown=False), examples(unknown=True)
    loss = fit(model, train, loss_terms, settings, job, items=loss_items, dtype=dtype)
    with computing(model, dtype):
        scored = score_replies(model, chat, test, settings.batch_tokens)
    save_trained(model, tokenizer, out, dtype)
    habits = Habits(reply.turn for example in train for reply in example.replies)
    tokens = settings.epochs * tokens_in(train) + tokens_in(test)
    return world_report(
        scored, habits, train_loss=loss, min_exact=min_exact, tokens=tokens, refusal=chat.wording.refusal
    )


def world_examples(chat: Chat, episodes: Sequence[Episode]) -> list[Example]:
    """Every family of episodes as one tree, read up to the reply to a branch's first own answer."""
    by_id = {episode.episode_id: episode for episode in episodes}
    before, after = chat.delimiters
    examples = []
    for family in families(episodes):
        for scored in family_trees(chat, family, "append", branch_turns=1):
            replies = [
                _reply(chat, by_id[name], t, end + 1 + len(before), last - len(after) + 1, last)
                for (name, t), end, last in zip(scored.decisions, scored.ends, scored.replies, strict=True)
            ]
            examples.append(Example(scored.tree, replies))
    return examples


def _reply(chat: Chat, episode: Episode, t: int, first: int, closing: int, last: int) -> Reply:
    turns, final = episode.turns, t == len(episode.turns) - 1
    if final:
        follows = None if episode.truncated else chat.end
    else:
        follows = chat.answer(turns[t + 1].response, turns[t + 1].tokens)[0]
    previous = turns[t - 1].observation if t else episode.first_observation
    return Reply(first, closing, last, follows, turns[t], previous, over=final and not episode.truncated)


def loss_terms(model: PreTrainedModel, examples: Sequence[Example], settings: WorldModel, progress: float) -> Terms:
    """The examples' negative log-likelihood, a mean over the learnt tokens."""
    places = [list(_places(example)) for example in examples]
    learnt = torch.tensor([token for each in places for _, token in each])
    (hidden,) = hidden_at(model, examples, [[place for place, _ in each] for each in places])
    return {"tokens": Term(-chosen_log_probabilities(model, hidden, learnt).sum(), len(learnt))}


def loss_items(examples: Sequence[Example], settings: WorldModel) -> Items:
    """How many tokens are learnt."""
    return {"tokens": sum(len(list(_places(example))) for example in examples)}


def _places(example: Example) -> Iterator[tuple[int, int]]:
    """Where each learnt token is predicted, and the token."""
    for reply in example.replies:
        yield from ((place, example.tree.ids[place + 1]) for place in range(reply.first - 1, reply.closing))
        if reply.follows is not None:
            yield reply.last, reply.follows


@torch.no_grad()
def score_replies(model: PreTrainedModel, chat: Chat, examples: Sequence[Example], budget: int) -> pd.DataFrame:
    """What the model foresees of every reply, as `reports.world_report.world_report` reads it.

    A reply is foreseen exactly where each of its tokens is the likeliest behind those before it: then, and only then,
    the greedy one is this reply.
    """
    model.eval()
    head = language_head(model)
    refusal = chat.wording.refusal
    fails = chat.follow_up(refusal)[len(chat.delimiters[0])] if refusal else -1
    rows = []
    for batch in batches_in_order(examples, budget):
        replies = [(example.tree, reply) for example in batch for reply in example.replies]
        places = [
            [place for reply in example.replies for place in (*range(reply.first - 1, reply.closing), reply.last)]
            for example in batch
        ]
        (hidden,) = hidden_at(model, batch, places)
        parts = hidden.split([r.closing - r.first + 2 for _, r in replies])
        for (tree, reply), behind in zip(replies, parts, strict=True):
            part = head(behind).float().log_softmax(-1)
            *likeliest, follows = part.argmax(-1).tolist()
            reply_ids = tree.ids[reply.first : reply.closing + 1]
            rows.append(
                {
                    "action": reply.turn.action,
                    "previous": reply.previous,
                    "observation": reply.turn.observation,
                    "over": reply.over,
                    "tokens": len(reply_ids),
                    "loss": -float(part[torch.arange(len(reply_ids)), reply_ids].sum()),
                    "exact": likeliest == reply_ids,
                    "fails": likeliest[0] == fails,
                    "ends": follows == chat.end,
                }
            )
    return pd.DataFrame(rows)
