"""An experiment composed on the command line: a base, studies laid over it, single settings, a seed.

It is kept in the home folder as an experiment's file, so that whatever takes an experiment takes its name alone, in any
process. The name is the base, the studies in their order, the settings in the order of their keys, and the seed where
it is another than the base's, with `__` between them: `alfworld__steered`, `quickstart__improvement_beta_0_3__seed_1`.
"""

import json
from collections.abc import Sequence
from decimal import Decimal
from hashlib import sha256
from os import getpid
from re import fullmatch
from typing import Any

from yaml import YAMLError

from agentprm_dagster.config import Experiment
from agentprm_dagster.config.catalog import (
    ExperimentError,
    Settings,
    checked,
    experiment_files,
    load_experiment,
    require_study,
    resolved,
)
from agentprm_dagster.config.experiment import MOST_LETTERS
from agentprm_dagster.config.problems import shortened
from agentprm_dagster.config.strict_yaml import MOST_DEPTH, parse_yaml
from agentprm_dagster.home import experiments_folder, make_private

_NOT_SET = {"name", "description", "seed", "extends", "with"}
"""What `--set` does not set: other options do, or nothing does."""

_KEY = r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*"

_WHERE = "this combination"


def compose(
    base: str, studies: Sequence[str] = (), settings: Sequence[str] = (), seeds: Sequence[int] = ()
) -> list[str]:
    """The names of an experiment with studies and settings laid over it, one for every seed; each is kept in the home.

    `settings` are texts such as `improvement.beta=0.3`, with values in YAML. Without `seeds` the base's own counts.

    Raises:
        ExperimentError: a study is not there, a setting is none, they do not go together, or a name is taken.
    """
    if not (studies or settings or seeds):
        return [base]
    own, parts = _laid_over(base, studies, settings)
    usual = checked(base, resolved(own, _WHERE), _WHERE)
    return [_seeded(own, parts, seed, usual) for seed in seeds or (usual.seed,)]


def composed(base: str, studies: Sequence[str] = (), settings: Sequence[str] = ()) -> Experiment:
    """The same as an experiment of the base's name, which is not kept; errors are those of `compose`."""
    own, _ = _laid_over(base, studies, settings)
    return checked(base, resolved(own, _WHERE), _WHERE)


def _laid_over(base: str, studies: Sequence[str], settings: Sequence[str]) -> tuple[Settings, list[str]]:
    """What is laid over a base, and the parts of the name that this makes."""
    for study in studies:
        require_study(study)
    own, parts = Settings({"extends": base, "with": list(studies)}, {}), [base, *studies]
    read = [(*_read(text), text) for text in sorted(settings)]
    named = [*studies, *(key for key, _, _ in read)]
    if len(set(named)) < len(named):
        raise ExperimentError(f"--with and --set: expected everything once, got {', '.join(named)}")
    for key, value, text in read:
        parts.append(_part(key, value))
        own = _setting(key, value, f"--set {shortened(text)}").over(own)
    return own, parts


def _read(text: str) -> tuple[str, Any]:
    """Key and value of a setting as it is written behind `--set`."""
    key, equals, written = text.partition("=")
    first, *below = key.split(".")
    if not (equals and fullmatch(_KEY, key)) or first in _NOT_SET or len(below) > MOST_DEPTH:
        raise ExperimentError(
            f"--set {shortened(text)}: expected a setting and its value, as in improvement.beta=0.3 or iterations=1; "
            "--seeds sets the seed"
        )
    try:
        return key, parse_yaml(written, key)[0]
    except (YAMLError, RecursionError) as error:
        raise ExperimentError(f"--set {shortened(text)}: its value is not valid YAML: {error}") from error


def _setting(key: str, value: Any, where: str) -> Settings:
    names = tuple(key.split("."))
    for name in reversed(names):
        value = {name: value}
    return Settings(value, {names: where})


def _part(key: str, value: Any) -> str:
    """`improvement_beta_0_3`; where a name cannot tell key and value, a digest does."""
    part = f"{key}.{_told(value)}".replace(".", "_")
    if fullmatch("[a-z0-9]+(_[a-z0-9]+)*", part):
        return part
    plain = fullmatch("[a-z0-9_.]+", key)
    return f"{key.replace('.', '_') if plain else 'set'}_{_digest([key, value])}"


def _told(value: Any) -> str:
    """A value as a name can have it, no two alike; else empty."""
    if isinstance(value, list) and len(value) == 1:  # means the same as the value alone
        return _told(value[0])
    if isinstance(value, str):
        return value if fullmatch("[a-z][a-z0-9_]*", value) and value not in ("null", "true", "false") else ""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return f"{Decimal(repr(value)):f}".removesuffix(".0")
    return "" if isinstance(value, list | dict) else json.dumps(value)


def _digest(value: object) -> str:
    return f"x{sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:8]}"


def _seeded(own: Settings, parts: Sequence[str], seed: int, usual: Experiment) -> str:
    """The experiment's name with a seed, `usual` being what it is without; it is kept in the home.

    Where it branches `from` another, it does so from that one with the same seed.
    """
    if seed != usual.seed:
        own, parts = Settings({"seed": seed}, {}).over(own), [*parts, f"seed_{seed}"]
        if origin := usual.origin:
            (begins_from,) = compose(origin.experiment, seeds=[seed])
            own = _setting("from.experiment", begins_from, _WHERE).over(own)
    name = "__".join(parts)
    if len(name) > MOST_LETTERS:
        name = f"{name[: MOST_LETTERS - 11].rstrip('_')}__{_digest(parts)}"
    if len(parts) > 1:
        _keep(name, own)
    return name


def _keep(name: str, own: Settings) -> None:
    """Writes the experiment's file, in one step; what is there already must be the same."""
    experiment = checked(name, resolved(own, _WHERE), _WHERE)
    if path := experiment_files().get(name):
        if load_experiment(name).model_dump(exclude={"description"}) != experiment.model_dump(exclude={"description"}):
            raise ExperimentError(
                f"{path} is another experiment, and what is composed now would have its name: rename that file"
            )
        return
    folder = make_private(experiments_folder())
    unfinished = folder / f".{getpid()}"
    unfinished.touch(mode=0o600)
    lines = [f"{key}: {json.dumps(value, ensure_ascii=False)}\n" for key, value in own.values.items()]
    unfinished.write_text("".join(lines), encoding="utf-8")
    unfinished.replace(folder / f"{name}.yaml")
