"""InversePRM: Q(s, a) learnt from demonstrations, no outcome read (section 3 of the paper, Eqs. 6 to 10).

The reward Q(s, a) - gamma E_{a' ~ pi} Q(s', a') (Eq. 8) is to be high where the expert acts and low where the policies
so far do (Eq. 9). As a classifier: it is the logit of "the expert did this", learnt by binary cross-entropy with
gradients through both terms; a' is the current policy's on both sides, and behind the turn that ends a game is nothing.
Where the current policy acted itself, its own next answer is such an a'; elsewhere some are drawn. The last turn of an
episode that was broken off ends nothing, and what would follow is not known: it is no transition, on either side.
Expert and learners weigh the same, however many transitions each has.

That a game has ended is read of the environment (`Episode.truncated`), how it ended is not. ALFWorld's games end only
when they are won, so that transitions without an a' come from won episodes there: they differ from the others in the
missing term of Eq. 8, and are labelled by who acted like all others.
"""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from transformers import PreTrainedModel

from agentprm_dagster.algorithm.inverse_prm import discrimination_term, transition_rewards
from agentprm_dagster.algorithm.terms import Items, Term, Terms
from agentprm_dagster.config import InversePrm
from agentprm_dagster.engine import checkpoints
from agentprm_dagster.engine.chat import Chat
from agentprm_dagster.engine.embedded.attention import use_grouped_attention
from agentprm_dagster.engine.embedded.token_tree import ROOT, TokenTree
from agentprm_dagster.episodes.dialogue import Format, Wording
from agentprm_dagster.episodes.records import Episode
from agentprm_dagster.launch.device import computing
from agentprm_dagster.launch.job import Job
from agentprm_dagster.reports.inverse_report import Discrimination
from agentprm_dagster.training.candidates import READ_TOGETHER, Candidate, CandidateSampler
from agentprm_dagster.training.episode_trees import families, family_trees
from agentprm_dagster.training.prm_examples import predict, prm_examples
from agentprm_dagster.training.saving import save_trained
from agentprm_dagster.training.tree_training import batches_in_order, fit, read_heads, tokens_in

NextAnswers = Mapping[int, Sequence[Candidate]]
"""Answers that the current policy gives in the states before some turns of an episode."""


@dataclass(slots=True)
class Transitions:
    """Transitions (s, a, s') of one episode in one token tree, with answers a' drawn in every s'."""

    expert: bool
    weight: float = 1.0
    """Of each transition in the loss."""
    tree: TokenTree = field(default_factory=TokenTree)
    ends: list[int] = field(default_factory=list)
    """Where each transition's a ends."""
    next_ends: list[int] = field(default_factory=list)
    """Where each a' ends."""
    owners: list[int] = field(default_factory=list)
    """Which transition each a' follows."""
    shares: list[float] = field(default_factory=list)
    """How much of its state's draws each a' is."""

    def follow(self, end: int, next_end: int | None) -> None:
        """A transition whose a ends at `end`, and whose a', if there is one, is in the tree already."""
        self.ends.append(end)
        if next_end is not None:
            self.next_ends.append(next_end)
            self.owners.append(len(self.ends) - 1)
            self.shares.append(1.0)

    def add(self, end: int, state: int, length: int, answers: Sequence[Candidate]) -> None:
        """A transition whose a ends at `end`; its s' is the first `length` tokens of the tree's segment `state`."""
        self.ends.append(end)
        draws = sum(answer.draws for answer in answers)
        for answer in answers:
            segment = self.tree.add(answer.ids, parent=state, length=length)
            self.next_ends.append(self.tree.index(segment, len(answer.ids) - 1))
            self.owners.append(len(self.ends) - 1)
            self.shares.append(answer.draws / draws)


def train_inverse_prm(
    policy: Path,
    expert: Sequence[Episode],
    past: Sequence[Episode],
    current: Sequence[Episode],
    settings: InversePrm,
    wording: Wording,
    out: Path,
    *,
    dialogue: Format,
    temperature: float,
    max_new_tokens: int,
    held_out: Collection[str],
    job: Job,
) -> Discrimination:
    """Trains on games that are not held out, writes the PRM to `out`; how it tells the sides apart on those that are.

    `current` are episodes of `policy`, the current one, perhaps with branches; `past` whole ones of those before it.
    `temperature` and `max_new_tokens` are those that the current policy has played with, and answers with here.
    """
    tokenizer, dtype = checkpoints.load_tokenizer(policy), checkpoints.stored_dtype(policy)
    chat = Chat(tokenizer, wording)
    others = [*expert, *past]
    answers = next_answers(
        policy,
        chat,
        others,
        dialogue,
        n=settings.draws,
        temperature=temperature,
        max_new_tokens=max_new_tokens,
        job=job,
    )
    made = [
        (episode.game, transitions(chat, episode, dialogue, after, expert=i < len(expert)))
        for i, (episode, after) in enumerate(zip(others, answers, strict=True))
    ]
    made += [(family[0].game, own_transitions(chat, family, dialogue)) for family in families(current)]
    examples = [(game in held_out, example) for game, several in made for example in several if example.ends]
    train = balanced([example for is_held_out, example in examples if not is_held_out])
    test = balanced([example for is_held_out, example in examples if is_held_out])
    model = checkpoints.prm_from_policy(policy, seed=job.seed)
    loss = fit(model, train, loss_terms, settings, job, items=loss_items, dtype=dtype)
    with computing(model, dtype):
        rewards = predict_rewards(model, test, settings)
    save_trained(model, tokenizer, out, dtype)
    return Discrimination(
        train_loss=loss,
        rewards=rewards,
        expert=np.array([example.expert for example in test for _ in example.ends], dtype=bool),
        trained_on={True: _count(train, expert=True), False: _count(train, expert=False)},
        tokens=settings.epochs * tokens_in(train) + tokens_in(test),
    )


@torch.inference_mode()
def next_answers(
    policy: Path,
    chat: Chat,
    episodes: Sequence[Episode],
    dialogue: Format,
    *,
    n: int,
    temperature: float,
    max_new_tokens: int,
    job: Job,
) -> list[NextAnswers]:
    """For every episode: `n` answers of the policy in the state before each of its own turns but the first."""
    prefixes = [
        (i, prefix)
        for i, episode in enumerate(episodes)
        if len(episode.own_turns) > 1
        for prefix in chat.conversations(episode, dialogue, range(episode.start + 1, len(episode.turns)))
    ]
    if not prefixes:
        return [{} for _ in episodes]
    prefixes.sort(key=lambda numbered: numbered[1].states[-1])
    model = checkpoints.load_policy(policy)
    use_grouped_attention(model)
    read = [prefix for _, prefix in prefixes]
    sampler = CandidateSampler.of_any(read, model.eval(), chat, n=n, new=max_new_tokens)
    drawn: list[dict[int, list[Candidate]]] = [defaultdict(list) for _ in episodes]
    for first in range(0, len(prefixes), READ_TOGETHER):
        some = read[first : first + READ_TOGETHER]
        for candidate in sampler.draw(some, temperature=temperature, seed=job.seed):
            i, prefix = prefixes[first + candidate.state[0]]
            drawn[i][prefix.turns[candidate.state[1]]].append(candidate)
        job.monitor.progress(min(first + READ_TOGETHER, len(prefixes)), len(prefixes), "prefixes answered")
    return list(drawn)


def transitions(
    chat: Chat, episode: Episode, dialogue: Format, after: NextAnswers, *, expert: bool
) -> list[Transitions]:
    """An episode's own transitions: one tree in the `append` format, one a turn where each restates the history.

    A demonstrator's mistakes (`envs.alfworld.mistakes`) are what it recovers from and not what it does: they are no
    transitions.
    """
    last = len(episode.turns) - 1
    own = [t for t in _followed(episode) if episode.turns[t].admissible or not expert]
    if dialogue == "restated" or not own:
        return [_restated(chat, episode, t, after.get(t + 1, ()), expert=expert) for t in own]
    (conversation,) = chat.conversations(episode)
    made = Transitions(expert)
    segment = made.tree.add(conversation.ids)
    for t in own:
        next_state = conversation.states[t + 1] if t < last else 0
        end = made.tree.index(segment, conversation.answers[t][1] - 1)
        made.add(end, segment, next_state, after.get(t + 1, ()))
    return [made]


def own_transitions(chat: Chat, family: Sequence[Episode], dialogue: Format) -> list[Transitions]:
    """Those of an episode of the current policy and of its branches' first turns; a' is what it answered next."""
    if dialogue == "restated":
        return [
            _restated(chat, episode, t, _next_answer(chat, episode, t), expert=False)
            for episode in family
            for t in (_followed(episode) if episode.parent is None else _followed(episode)[:1])
        ]
    (scored,) = family_trees(chat, family, dialogue, branch_turns=2)
    ends, made = dict(zip(scored.decisions, scored.ends, strict=True)), Transitions(expert=False, tree=scored.tree)
    by_id = {episode.episode_id: episode for episode in family}
    for (episode_id, t), end in ends.items():
        episode = by_id[episode_id]
        if t in _followed(episode) and (episode.parent is None or t == episode.start):
            made.follow(end, ends.get((episode_id, t + 1)))
    return [made]


def _followed(episode: Episode) -> range:
    """An episode's own turns of which it is known what came next: another turn, or the game's end."""
    return range(episode.start, len(episode.turns) - episode.truncated)


def _next_answer(chat: Chat, episode: Episode, t: int) -> list[Candidate]:
    return [
        Candidate((0, 0), tuple(chat.answer(turn.response, turn.tokens)), 1) for turn in episode.turns[t + 1 : t + 2]
    ]


def _restated(chat: Chat, episode: Episode, t: int, answers: Sequence[Candidate], *, expert: bool) -> Transitions:
    """One transition: the prompt with its answer, and beside it the next prompt with the answers drawn there."""
    made = Transitions(expert)
    own, *following = chat.conversations(episode, "restated", [t, t + 1] if answers else [t])
    end = made.tree.index(made.tree.add(own.ids), len(own.ids) - 1)
    if not answers:
        made.add(end, ROOT, 0, ())
    for after in following:
        made.add(end, made.tree.add(after.prompt), after.states[0], answers)
    return made


def balanced(examples: Sequence[Transitions]) -> list[Transitions]:
    """The same, weighted so that expert and learners have half of all weight each, 1 on average."""
    counts = {expert: _count(examples, expert=expert) for expert in (True, False)}
    for example in examples:
        example.weight = sum(counts.values()) / (2 * counts[example.expert])
    return list(examples)


def _count(examples: Sequence[Transitions], *, expert: bool) -> int:
    return sum(len(example.ends) for example in examples if example.expert == expert)


def rewards_of(model: PreTrainedModel, examples: Sequence[Transitions], gamma: float) -> torch.Tensor:
    """Q(s, a) - gamma E Q(s', a') of every transition (D,), example after example: Eq. 8."""
    q, next_q = read_heads(model, examples, [each.ends for each in examples], [each.next_ends for each in examples])
    owners, offset = [], 0
    for example in examples:
        owners += [offset + owner for owner in example.owners]
        offset += len(example.ends)
    shares = torch.tensor([share for example in examples for share in example.shares], device=q.device)
    index = torch.tensor(owners, dtype=torch.long, device=q.device)
    return transition_rewards(q, next_q, index, shares, gamma)


def inverse_prm_term(rewards: torch.Tensor, examples: Sequence[Transitions]) -> Term:
    """`discrimination_term` of the rewards (D,) of some examples' transitions."""
    labels = rewards.new_tensor([float(example.expert) for example in examples for _ in example.ends])
    weights = rewards.new_tensor([example.weight for example in examples for _ in example.ends])
    return discrimination_term(rewards, labels, weights)


def loss_terms(model: PreTrainedModel, examples: Sequence[Transitions], settings: InversePrm, progress: float) -> Terms:
    """The term of the examples' loss."""
    return {"transitions": inverse_prm_term(rewards_of(model, examples, settings.gamma), examples)}


def loss_items(examples: Sequence[Transitions], settings: InversePrm) -> Items:
    """How many transitions there are."""
    return {"transitions": _count(examples, expert=True) + _count(examples, expert=False)}


@torch.no_grad()
def predict_rewards(model: PreTrainedModel, examples: Sequence[Transitions], settings: InversePrm) -> np.ndarray:
    """The reward of every transition (D,), in the examples' order."""
    model.eval()
    batches = batches_in_order(examples, settings.batch_tokens)
    return np.concatenate([np.zeros(0), *(rewards_of(model, batch, settings.gamma).cpu().numpy() for batch in batches)])


def score_decisions(
    prm: Path, episodes: Sequence[Episode], targets: pd.DataFrame, wording: Wording, *, dialogue: Format, budget: int
) -> pd.DataFrame:
    """The rows of the targets table that are decisions of some episodes, with the column `logit`: Q(s, a)."""
    model, tokenizer = checkpoints.load_prm(prm), checkpoints.load_tokenizer(prm)
    use_grouped_attention(model)
    examples = prm_examples(
        Chat(tokenizer, wording),
        episodes,
        targets,
        dialogue,
        branch_turns=1,
        read_replies=False,
    )
    logits, _ = predict(model, examples, budget)
    return targets.iloc[[row for example in examples for row in example.rows]].assign(logit=logits)
