"""Processes that commit, reuse, announce, select and sweep in one store, some killed, while another verifies."""

import os
import random
import signal
from contextlib import suppress
from pathlib import Path

from agentprm_dagster.provenance.errors import ArtifactError, LockedError
from agentprm_dagster.provenance.manifest import AssetPartition, Code, Input, Recipe
from agentprm_dagster.provenance.store import ArtifactStore
from agentprm_dagster.provenance.verify import Verification, sweep, verify

CODE = Code("0.1.0", "0" * 64, None, None)
EXPERIMENTS, ITERATIONS, CONTENTS = ("one", "two"), (1, 2), 3
WRITERS = 3


def race(root: Path, seed: int, steps: int) -> int:
    """Three writers of `steps` steps, two of them killed on the way; how often it was verified meanwhile.

    Raises:
        AssertionError: `verify` found a problem at some moment, or a writer failed.
    """
    rng, store = random.Random(seed), ArtifactStore(root)
    _commit(store, "one", "demonstrations", 1, 0)
    writers = [_started(store, seed * WRITERS + number, steps) for number in range(WRITERS)]
    victims, looks = writers[1:], 0
    while writers:
        _require_sound(verify(store))
        looks += 1
        if victims and rng.random() < 0.2:
            os.kill(victims.pop(), signal.SIGKILL)
        writers = [writer for writer in writers if not _ended(writer)]
        victims = [victim for victim in victims if victim in writers]
    sweep(store)
    found = verify(store)
    _require_sound(found)
    assert not found.leftovers, found.leftovers
    return looks


def _require_sound(found: Verification) -> None:
    assert found.sound, found.problems


def _started(store: ArtifactStore, seed: int, steps: int) -> int:
    child = os.fork()
    if child == 0:
        code = 1
        with suppress(BaseException):  # a fork of the tests' process must never go on as one
            _write(store, random.Random(seed), steps)
            code = 0
        os._exit(code)
    return child


def _ended(writer: int) -> bool:
    done, status = os.waitpid(writer, os.WNOHANG)
    assert os.waitstatus_to_exitcode(status) in (0, -signal.SIGKILL), "a writer failed"
    return done == writer


def _write(store: ArtifactStore, rng: random.Random, steps: int) -> None:
    for _ in range(steps):
        experiment, iteration = rng.choice(EXPERIMENTS), rng.choice(ITERATIONS)
        asset, content = rng.choice(("demonstrations", "rollouts", "initial_policy")), rng.randrange(CONTENTS)
        with suppress(LockedError), store.lock(experiment, asset, iteration):
            _commit(store, experiment, asset, iteration, content)
        if rng.random() < 0.2:
            sweep(store)
        versions = list(store.versions(AssetPartition(experiment, asset, iteration)))
        if versions and rng.random() < 0.3:
            store.select(rng.choice(versions))


def _commit(store: ArtifactStore, experiment: str, asset: str, iteration: int, content: int) -> None:
    """One of a few things that all writers make, made from another or adopted where it is there already."""
    inputs: tuple[Input, ...] = ()
    if asset != "demonstrations":
        try:
            inputs = (store.current(experiment, "demonstrations", 1).as_input("demonstrations"),)
        except ArtifactError:
            return
    recipe = Recipe(experiment, asset, iteration, inputs, {"content": content}, CODE, {"stage": 0})
    made = store.reuse(recipe)
    if made is None:
        with store.draft(recipe) as draft:
            for number in range(content + 1):
                (draft.path / f"{number}.json").write_text(str(content))
            made = draft.commit(metrics={"content": content})
    if asset == "initial_policy":
        store.announce(experiment, iteration, made)
