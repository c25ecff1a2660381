"""What stages take that train a model."""

from dataclasses import replace
from math import ceil
from typing import Any, Literal

from agentprm_dagster.improvement.implicit_dpo import Settings as ImplicitDpo
from agentprm_dagster.improvement.settings import FromRollouts
from agentprm_dagster.planning.memory import OptimizerName, Step, peak
from agentprm_dagster.planning.setup import Setup, Stage
from agentprm_dagster.planning.tokens import Dialogues

SHAPE_STEP = 32
"""Rows are padded to a multiple of this."""


def initial_policy(setup: Setup) -> Stage:
    """Random play that a model from scratch reads, then SFT on the demonstrations; nothing where it is another's."""
    if setup.experiment.origin:
        return Stage(name="initial_policy", seconds=0)
    settings, shown, talk = setup.experiment.sft, setup.experiment.demonstrations, setup.talk()
    turns = setup.expert_turns
    longest = _padded(talk.longest(shown.max_steps))
    answers = 1 if talk.dialogue == "restated" else shown.max_steps
    step = _step(setup, "policy", longest, settings.batch_episodes, settings.optimizer)
    step = replace(step, learnt=ceil(step.rows * answers * talk.answer))
    random, tokens = setup.experiment.pretraining, settings.epochs * setup.demonstrations * talk.episode(turns)
    tokens += random.epochs * random.episodes * talk.episode(random.max_steps)
    return _training("initial_policy", setup, step, tokens)


def _learnt(setup: Setup) -> float:
    """Tokens of an iteration's rollouts as they are trained on: a branch's first turn beside its episode."""
    settings, talk = setup.experiment.rollouts, setup.talk(setup.experiment.rollouts.max_new_tokens)
    turns = setup.turns
    whole, branches = setup.explored * settings.per_game, settings.branch_states * settings.branch_actions
    turn = talk.row(turns) if talk.dialogue == "restated" else talk.answer + setup.assumed.observation
    return whole * (talk.episode(turns) + branches * turn)


def prm(setup: Setup) -> Stage:
    """The PRM on the games that are not held out."""
    settings, talk = setup.experiment.prm, setup.talk(setup.experiment.rollouts.max_new_tokens)
    share = 1 - setup.experiment.targets.held_out_games
    step = _head_step(setup, talk, settings.batch_tokens, settings.optimizer)
    return _training("prm", setup, step, settings.epochs * share * _learnt(setup))


def inverse_prm(setup: Setup) -> Stage:
    """InversePRM on demonstrations with answers drawn in their states, and on rollouts."""
    settings, rollouts = setup.experiment.inverse_prm, setup.experiment.rollouts
    talk, expert = setup.talk(rollouts.max_new_tokens), setup.expert_turns
    step = _head_step(setup, talk, settings.batch_tokens, settings.optimizer)
    states = setup.demonstrations * expert
    # The expert's states are read again with the answers that are drawn in them.
    drawn = states * settings.draws * talk.answer
    again = drawn if talk.dialogue == "append" else states * settings.draws * talk.row(expert)
    tokens = settings.epochs * (setup.demonstrations * talk.episode(expert) + again + _learnt(setup))
    found = _training("inverse_prm", setup, step, tokens)
    return replace(
        found,
        read=setup.demonstrations * talk.read(expert),
        drawn=drawn,
        seconds=found.seconds + setup.reading(setup.demonstrations * talk.read(expert)) + setup.drawing(drawn),
    )


def _head_step(setup: Setup, talk: Dialogues, batch_tokens: int, optimizer: OptimizerName) -> Step:
    rollouts = setup.experiment.rollouts
    branches = rollouts.branch_states * rollouts.branch_actions if talk.dialogue == "append" else 0
    tree = talk.longest(rollouts.max_steps) + branches * (talk.answer + setup.assumed.observation)
    longest = _padded(tree)
    step = _step(setup, "prm", longest, max(batch_tokens // longest, 1), optimizer)
    return replace(step, masked=branches > 0)


def improved_policy(setup: Setup) -> Stage:
    """Policy improvement, against a PRM or on the rollouts as they are."""
    settings: Any = setup.experiment.improvement
    if isinstance(settings, FromRollouts):
        return _on_rollouts(setup, settings)
    against = _against_reward(setup, settings)
    if not isinstance(settings, ImplicitDpo):
        return against
    first = _on_rollouts(setup, settings.implicit)
    trained, read, seconds = (getattr(first, name) + getattr(against, name) for name in ("trained", "read", "seconds"))
    return replace(against, trained=trained, read=read, seconds=seconds)


def _on_rollouts(setup: Setup, settings: FromRollouts) -> Stage:
    """All games have as many episodes to learn from as may be; pi_(i-1) reads them once where it compares."""
    rollouts, most = setup.experiment.rollouts, settings.conversations_per_game
    talk = setup.talk(rollouts.max_new_tokens)
    longest = _padded(talk.longest(rollouts.max_steps))
    rows = ceil(settings.conversations_per_step * (talk.rows(setup.turns) if most else 1))
    step = _step(setup, "policy", longest, rows, settings.optimizer)
    answers = 1 if talk.dialogue == "restated" else rollouts.max_steps
    frozen = setup.shape.policy if setup.lora_rank is None else 0
    step = replace(step, learnt=ceil(step.rows * answers * talk.answer), masked=most is None, frozen=frozen)
    once = _learnt(setup) if most is None else setup.explored * most * talk.episode(setup.turns)
    found, read = _training("improved_policy", setup, step, settings.epochs * once), settings.compares * once
    return replace(found, read=read, seconds=found.seconds + setup.reading(read))


def _against_reward(setup: Setup, settings: Any) -> Stage:
    """Sampling, PRM and reference, and the policy's own step."""
    rollouts = setup.experiment.rollouts
    talk = setup.talk(settings.max_new_tokens)
    restated = talk.dialogue == "restated"
    prefixes = settings.most_states_per_step if restated else settings.episodes_per_step
    states, answers = (1 if restated else settings.states_per_episode), getattr(settings, "candidates", 2)
    longest = talk.state(rollouts.max_steps - 1)
    row = _padded(longest + states * answers * talk.answer)
    step = _step(setup, "policy", row, prefixes, settings.optimizer)
    others = setup.shape.prm + (setup.shape.policy if setup.lora_rank is None else 0)
    step = replace(
        step,
        learnt=ceil(step.rows * states * answers * talk.answer),
        loss="comparison",
        masked=True,
        frozen=others,
        cached=ceil(prefixes / setup.gpus) * ceil(longest + states * answers * settings.max_new_tokens),
    )
    # Of a conversation that grows all up to the last of the states that were drawn is read.
    read = prefixes * talk.state(setup.turns / 2 if restated else setup.turns * states / (states + 1))
    drawn = prefixes * states * answers * talk.answer
    tokens = settings.steps * (read + drawn)
    found = _training("improved_policy", setup, step, tokens)
    # Sampling reads the prompts, reference and PRM read them with the answers.
    besides = settings.steps * (read + 2 * (read + drawn))
    seconds = found.seconds + setup.reading(besides) + setup.drawing(settings.steps * drawn)
    return replace(found, read=besides, drawn=settings.steps * drawn, seconds=seconds)


def _step(setup: Setup, role: Literal["policy", "prm"], longest: int, rows: int, optimizer: OptimizerName) -> Step:
    """A step on so many rows of so many tokens, in pieces as the setup says."""
    own, most = ceil(rows / setup.gpus), setup.training.micro_batch_tokens
    piece = min(max(most // longest, 1), own) if most else own
    return Step(
        shape=setup.shape,
        role=role,
        rows=piece,
        width=longest,
        several=piece < own,
        dtype=setup.dtype,
        checkpointing=setup.training.activation_checkpointing,
        optimizer=optimizer,
        lora_rank=setup.lora_rank,
        # An adapter is so small that every process holds it.
        sharded=setup.gpus if setup.training.strategy == "fsdp2" and setup.lora_rank is None else 1,
    )


def _padded(tokens: float) -> int:
    return ceil(tokens / SHAPE_STEP) * SHAPE_STEP


def _training(name: str, setup: Setup, step: Step, tokens: float) -> Stage:
    # Two operations a weight and token forwards, four backwards; with adapters the gradients of weights fall away.
    operations = 6 if setup.lora_rank is None else 4
    if setup.training.activation_checkpointing:
        operations += 2
    return Stage(
        name=name,
        parameters=step.weights,
        trained=tokens,
        seconds=operations * step.weights * tokens / setup.rate(setup.assumed.training),
        memory=peak(step) if setup.on_gpu else None,
        on="GPU" if setup.on_gpu else "CPU",
        step=step if setup.on_gpu else None,
    )
