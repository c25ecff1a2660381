"""Cards of the data sets: rollouts, targets, evaluated episodes, as `datasets.load_dataset` reads their folders."""

from collections.abc import Mapping
from typing import Any

from agentprm_dagster.bundles.eq_1 import TABLE
from agentprm_dagster.bundles.opened import TRAIN, Opened
from agentprm_dagster.bundles.record import EVALUATION, POLICY, REWARD, ROLLOUTS, TARGETS, Part
from agentprm_dagster.bundles.words import (
    PAPER,
    card,
    checking,
    licence,
    licence_in_words,
    linked,
    metrics,
    numbers,
    origin,
    tags,
)
from agentprm_dagster.episodes.tables import EPISODES, TURNS
from agentprm_dagster.episodes.values import VALUES
from agentprm_dagster.reports.evaluation import folder_name
from agentprm_dagster.reports.results import in_markdown

_COLUMNS: Mapping[str, Mapping[str, str]] = {
    "episodes": {
        "episode_id": "unique within its table",
        "game": "id of the game that was played",
        "task_type": "kind of its task",
        "reward": "how far the task was fulfilled in the end, in [0, 1]; 1 is won",
        "start": "how many leading turns are inherited, from `parent` or from a demonstration",
        "parent": "the episode that this one branches off",
        "truncated": "broken off by a limit, and not ended by the game",
        "first_observation": "what the game says first, with the task",
        "turns": "number of turns, inherited ones included",
    },
    "turns": {
        "episode_id": "the episode that took it; turns inherited from a parent stand with the parent",
        "turn": "its place in the episode, from 0",
        "reason": "the reason that the answer states",
        "action": "the command that was sent",
        "observation": "what the environment replied",
        "response": "the whole answer",
        "parsed": "whether the answer had the agreed form",
        "admissible": "whether the game accepted the command in that state",
        "candidates": "admissible commands, where the dialogue lists them",
        "tokens": "ids that were drawn",
    },
    "targets": {
        "episode_id": "the rollout",
        "turn": "its decision, from 0",
        "game": "id of the game",
        "state": "digest of game, observations and actions so far",
        "action": "the command",
        "outcome": "discounted return of this rollout from here",
        "q": "mean over all rollouts through state and action: the target (Eq. 1)",
        "visits": "how many rollouts those are",
        "held_out": "of a game that only measures the reward model",
    },
}


def rollouts_card(opened: Opened) -> str:
    """The card of the rollouts."""
    made = opened.manifest(ROLLOUTS)
    what = (
        f"# Rollouts {made.iteration} of {opened.record.experiment}\n\nEpisodes of pi_{made.iteration - 1} in "
        f"{len(opened.games.get(TRAIN, {}))} training games of {opened.kind.name}: whole ones, and branches from "
        f"states along them. {linked(opened, REWARD, 'A reward model')} and "
        f"{linked(opened, POLICY, f'pi_{made.iteration}')} were made from them. The method is that of {PAPER}."
    )
    tables = {"episodes": EPISODES, "turns": TURNS}
    return _card(opened, ROLLOUTS, tables, what, _described("episodes", "turns"), metrics(made), origin(made))


def targets_card(opened: Opened) -> str:
    """The card of the targets."""
    made = opened.manifest(TARGETS)
    what = (
        f"# Targets {made.iteration} of {opened.record.experiment}\n\nWhat every decision of "
        f"{linked(opened, ROLLOUTS, 'the rollouts')} was worth: Q(s, a), the mean over rollouts of gamma^(T-1-t) times "
        f"the outcome, with gamma {opened.experiment.targets.gamma:g} ({PAPER}, Eq. 1). "
        f"{linked(opened, REWARD, 'The reward model')} {_use(opened)} them."
    )
    return _card(opened, TARGETS, {"targets": TABLE}, what, _described("targets"), metrics(made), origin(made))


def evaluation_card(opened: Opened) -> str:
    """The card of the evaluated episodes: one configuration a table, named after who played what."""
    made = opened.manifest(EVALUATION)
    names = [folder_name(row) for row in opened.rows]
    kinds = {"episodes": EPISODES, "turns": TURNS, "values": VALUES}
    there = {entry.path for entry in made.files}
    tables = {
        f"{name}.{kind}": f"{name}/{table}"
        for name in names
        for kind, table in kinds.items()
        if f"{name}/{table}" in there
    }
    what = (
        f"# Evaluation {made.iteration} of {opened.record.experiment}\n\nEvery episode behind the numbers below, and "
        "the numbers themselves (`evaluation.json`). Each table is a configuration: split, policy and how answers were "
        "chosen, then `episodes`, `turns`, or `values`, which are Q(s, a) and the value after the reply by turn."
    )
    sections = (numbers(opened, opened.rows), _described("episodes", "turns"), origin(made))
    return _card(opened, EVALUATION, tables, what, *sections)


def _use(opened: Opened) -> str:
    return "has learnt" if opened.manifest(REWARD).asset == "prm" else "was measured with"


def _card(opened: Opened, part: Part, tables: Mapping[str, str], what: str, *sections: str) -> str:
    first = next(iter(tables), "")
    split = "test" if part == EVALUATION else "train"
    configs: list[dict[str, Any]] = [
        {
            "config_name": name,
            "data_files": [{"split": split, "path": path}],
            **({"default": True} if name == first else {}),
        }
        for name, path in tables.items()
    ]
    model = opened.experiment.model
    head = {
        **licence(model),
        "language": ["en"],
        "task_categories": ["reinforcement-learning"],
        **tags(opened, part),
        "configs": configs,
    }
    load = (
        "## Load it\n\n```python\nfrom datasets import load_dataset\n\n"
        f'rows = load_dataset("THIS_FOLDER", "{first}", split="{split}")\n```'
    )
    return card(head, what, load, *sections, checking(), licence_in_words(model))


def _described(*tables: str) -> str:
    """The columns of some tables."""
    return "\n\n".join(
        f"## Columns of {name}\n\n{in_markdown(('column', 'what it is'), _COLUMNS[name].items())}" for name in tables
    )
