"""Model cards of a policy and of its reward model, for the Hugging Face hub."""

from collections.abc import Mapping, Sequence
from typing import Any

from agentprm_dagster.bundles.opened import TRAIN, Opened
from agentprm_dagster.bundles.record import POLICY, REWARD, ROLLOUTS, TARGETS, Part
from agentprm_dagster.bundles.words import (
    PAPER,
    base_model,
    card,
    checking,
    hub_data,
    licence,
    licence_in_words,
    linked,
    metrics,
    numbers,
    origin,
    repository,
    tags,
)
from agentprm_dagster.reports.evaluation import choice_name

_LOAD_POLICY = """\
from transformers import AutoModelForCausalLM, AutoTokenizer

model = AutoModelForCausalLM.from_pretrained("{folder}")
tokenizer = AutoTokenizer.from_pretrained("{folder}")
"""
_LOAD_REWARD = """\
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

model = AutoModelForSequenceClassification.from_pretrained("{folder}", num_labels=1)
tokenizer = AutoTokenizer.from_pretrained("{folder}")
value = torch.sigmoid(model(**tokenizer(conversation, return_tensors="pt")).logits)  # Q(s, a) at an answer's end
"""
_LOAD_ADAPTER = """\
from peft import {peft}
from transformers import AutoTokenizer

model = {peft}.from_pretrained("{folder}"{labels})
tokenizer = AutoTokenizer.from_pretrained("{folder}")
"""


def policy_card(opened: Opened) -> str:
    """The card of pi_i."""
    made, name = opened.manifest(POLICY), f"pi_{opened.record.iteration}"
    rows = [row for row in opened.rows if row["policy"] == name]
    head = {
        **_head(opened, POLICY, "text-generation"),
        **tags(opened, "policy"),
        **hub_data(opened, ROLLOUTS),
        "model-index": [{"name": repository(opened, POLICY), "results": [_result(opened, row) for row in rows]}],
    }
    what = (
        f"# {name} of {opened.record.experiment}\n\nThe policy after iteration {opened.record.iteration}: a language "
        f"model that plays {opened.kind.name}, improved from pi_{opened.record.iteration - 1} against "
        f"{linked(opened, REWARD, 'its reward model')} ({opened.experiment.improvement.kind}), on "
        f"{linked(opened, ROLLOUTS, 'rollouts')} in {len(opened.games.get(TRAIN, {}))} training games. The method is "
        f"that of {PAPER}. {opened.experiment.description}"
    )
    sections = [numbers(opened, rows), origin(made), _load(opened, _LOAD_POLICY, "AutoPeftModelForCausalLM", "")]
    return card(head, what, *sections, _limits(opened), checking(), licence_in_words(opened.experiment.model))


def reward_card(opened: Opened) -> str:
    """The card of the reward model that pi_i was improved against."""
    made = opened.manifest(REWARD)
    rows = [row for row in opened.rows if row["ranked_by"] == made.asset]
    head = {
        **_head(opened, REWARD, "text-classification"),
        **tags(opened, "process-reward-model", "reward-model"),
        **hub_data(opened, ROLLOUTS, TARGETS),
    }
    what = (
        f"# {made.asset}[{made.iteration}] of {opened.record.experiment}\n\nA process reward model for an agent that "
        f"plays {opened.kind.name}: read at the end of an answer, its one logit's sigmoid is Q(s, a). "
        f"{_learnt(opened)} by pi_{made.iteration - 1} in {len(opened.games.get(TRAIN, {}))} training games, and "
        f"{linked(opened, POLICY, f'pi_{made.iteration}')} was improved against it. The method is that of {PAPER}."
    )
    load = _load(opened, _LOAD_REWARD, "AutoPeftModelForSequenceClassification", ", num_labels=1")
    scores = numbers(opened, rows) if rows else ""
    limits = _limits(opened)
    return card(
        head,
        what,
        scores,
        metrics(made),
        origin(made),
        load,
        limits,
        checking(),
        licence_in_words(opened.experiment.model),
    )


def _learnt(opened: Opened) -> str:
    """What the reward model was trained on, up to whose rollouts those are."""
    targets, rollouts = linked(opened, TARGETS, "targets"), linked(opened, ROLLOUTS, "rollouts")
    if opened.manifest(REWARD).asset == "prm":
        return f"It was trained on {targets} (Eq. 1) of {rollouts}"
    inverse = "It was trained to tell demonstrations (InversePRM, no outcome is read)"
    return f"{inverse} from {rollouts} of all policies so far, the last"


def _head(opened: Opened, part: Part, task: str) -> dict[str, Any]:
    model = opened.experiment.model
    library = "peft" if model.lora else "transformers"
    return {**licence(model), **base_model(model), "library_name": library, "pipeline_tag": task, "language": ["en"]}


def _result(opened: Opened, row: Mapping[str, Any]) -> dict[str, Any]:
    """One row of the hub's table of results."""
    name = f"success, {choice_name(row)}, n = {row['n']}, 95% interval {row['ci_low']:.3f} to {row['ci_high']:.3f}"
    return {
        "task": {"type": "text-generation", "name": f"playing {opened.kind.name}"},
        "dataset": {"type": opened.kind.name, "name": opened.kind.name, "split": row["split"]},
        "metrics": [{"type": "success_rate", "name": name, "value": row["success_rate"]}],
    }


def _load(opened: Opened, plain: str, peft: str, labels: str) -> str:
    template = _LOAD_ADAPTER if opened.experiment.model.lora else plain
    code = template.format(folder="THIS_FOLDER", peft=peft, labels=labels)
    dialogues = opened.experiment.dialogue.format
    return (
        f"## Load it\n\n```python\n{code}```\n\nDialogues are written in the format `{dialogues}` of agentprm_dagster, "
        "with the chat template that lies here. Weights are safetensors, and no code of this folder is run."
    )


def _limits(opened: Opened) -> str:
    splits: Sequence[str] = opened.experiment.evaluation.splits
    return (
        f"## Limits\n\n- It was trained and judged on games of {opened.kind.name} alone (judged on "
        f"{', '.join(splits)}); nothing is known of it elsewhere.\n- It is one seed's. Another seed trains another "
        "model.\n- It chooses commands in text games. It was not made to talk to people, and nobody has looked at what "
        "it would say."
    )
