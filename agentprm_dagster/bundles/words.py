"""What the cards of a bundle share: their head in YAML, links, tables of numbers and of origins, licences."""

import json
from collections.abc import Iterable, Mapping
from typing import Any

import yaml

from agentprm_dagster.bundles.opened import Opened
from agentprm_dagster.bundles.record import EVALUATION, Part
from agentprm_dagster.engine.settings import Model
from agentprm_dagster.provenance.manifest import NOT_FINITE, Manifest
from agentprm_dagster.reports.evaluation import GAMES_ALONE
from agentprm_dagster.reports.results import cells, columns, in_markdown, in_order

PAPER = "[Process Reward Models for LLM Agents](https://arxiv.org/abs/2502.10325)"

_SUFFIX: Mapping[Part, str] = {
    "policy": "policy",
    "reward_model": "reward-model",
    "rollouts": "rollouts",
    "targets": "targets",
    "evaluation": "evaluation",
}

_SMOLLM2 = "HuggingFaceTB/SmolLM2-135M-Instruct"


def card(head: Mapping[str, Any], *sections: str) -> str:
    """A card: its metadata for the hub, then its sections."""
    metadata = yaml.safe_dump(dict(head), sort_keys=False, allow_unicode=True, width=1000)
    return f"---\n{metadata}---\n\n" + "\n\n".join(section.strip() for section in sections if section) + "\n"


def repository(opened: Opened, part: Part) -> str:
    """What a part is called on the hub, without its owner."""
    return f"{opened.record.experiment}-{opened.record.iteration}-{_SUFFIX[part]}"


def linked(opened: Opened, part: Part, text: str) -> str:
    """A text that leads to another part where the bundle is to be on the hub."""
    owner, kind = opened.record.hub, "" if part in ("policy", "reward_model") else "datasets/"
    return f"[{text}](https://huggingface.co/{kind}{owner}/{repository(opened, part)})" if owner else text


def hub_data(opened: Opened, *parts: Part) -> dict[str, list[str]]:
    """Metadata: the data sets that something was made from, where they are to be on the hub."""
    there = [part for part in parts if part in opened.record.contents]
    owner = opened.record.hub
    return {"datasets": [f"{owner}/{repository(opened, part)}" for part in there]} if owner and there else {}


def tags(opened: Opened, *more: str) -> dict[str, list[str]]:
    """Metadata: what it is found by."""
    return {"tags": ["agentprm", "llm-agent", opened.kind.name, *more]}


def base_model(model: Model) -> dict[str, str]:
    """Metadata: the pretrained model on the hub, where there is one."""
    if model.name == "smollm2":
        return {"base_model": _SMOLLM2}
    return {} if model.name == "embedded" or is_local(model) else {"base_model": model.name}


def is_local(model: Model) -> bool:
    """Whether the pretrained model was named by a path."""
    return model.name.startswith(("/", ".", "~"))


def licence(model: Model) -> dict[str, str]:
    """Metadata: the licence of the weights, as far as it is known here."""
    if model.name == "embedded":
        return {"license": "mit"}
    if model.name == "smollm2":
        return {"license": "apache-2.0"}
    page = f"https://huggingface.co/{model.name}"
    return {
        "license": "other",
        "license_name": "of-the-base-model",
        **({} if is_local(model) else {"license_link": page}),
    }


def licence_in_words(model: Model) -> str:
    """What is known of whose terms hold; the bundle's `licences/` has the texts."""
    if model.name == "embedded":
        weights = (
            "The weights were trained from random numbers by code under the MIT licence; no other model is in them."
        )
    elif model.name == "smollm2":
        weights = f"The weights come from {_SMOLLM2}, which is under Apache-2.0."
    else:
        weights = f"The weights come from {model.name}, whose licence holds for them; read it before you share them."
    return f"## Licence\n\n{weights} Texts of observations are those of the environment (`licences/` of the bundle)."


def numbers(opened: Opened, rows: Iterable[Mapping[str, Any]]) -> str:
    """Rows with n and intervals, and everything that such a number needs."""
    made = opened.manifest(EVALUATION)
    table = in_markdown(columns({}), (cells(row, {}) for row in in_order(rows)))
    processor, products = (made.environment.get(name, "not recorded") for name in ("processor", "products"))
    return (
        f"## Numbers\n\n{table}\n\nSuccess is the share of games whose reward is 1, each game played once, with at "
        f"most {opened.experiment.evaluation.max_steps} actions; intervals are Wilson's. Seed "
        f"{opened.experiment.seed}; processor {processor}, products in {products}. {GAMES_ALONE}"
    )


def origin(made: Manifest) -> str:
    """What an artifact was made from, its settings, and how far it can be made again."""
    inputs = [(read.role, f"{read.asset}[{read.iteration}]", f"`{read.digest[:16]}`") for read in made.inputs]
    commit = made.code.git_commit or "not recorded"
    changed = " with changes that were not committed" if made.code.dirty else ""
    return (
        f"## Made from\n\n{in_markdown(('read as', 'asset', 'digest'), inputs)}\n\n"
        f"Digest `{made.digest}`; commit {commit}{changed}; stage seed {made.seeds.get('stage')}; {made.seconds:.0f} "
        f"s; reproducible: {made.reproducible or 'not recorded'}.{_gates(made)}\n\n"
        f"```json\n{json.dumps(made.config, indent=2, sort_keys=True)}\n```"
    )


def metrics(made: Manifest) -> str:
    """All metrics of a manifest."""
    lines = [(name, NOT_FINITE if value is None else f"{value:.4g}") for name, value in sorted(made.metrics.items())]
    return f"## Metrics\n\n{in_markdown(('metric', 'value'), lines)}"


def versions(made: Manifest) -> str:
    """What it was made with."""
    return in_markdown(("what", "version"), sorted(made.environment.items()))


def checking() -> str:
    """How a reader finds out whether all this is true."""
    return (
        "## Check it\n\nThe bundle that this folder is part of holds every episode behind these numbers: `agentprm "
        "check BUNDLE` hashes its files, replays the episodes, and computes targets and scores again."
    )


def _gates(made: Manifest) -> str:
    return f" Gates that did not pass: {made.failed}." if made.failed else " All gates passed."
