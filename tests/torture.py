"""What nobody does on purpose, for as long as one likes: `make torture MINUTES=20`, or a night.

Every ordeal is tried again and again, each time with another seed, until its share of the time is used up. Prints a
table of what was tried and what failed, and writes it with the first failures as JSON; leaves with 1 if anything
failed. A sample of every ordeal is part of `make test`.
"""

import argparse
import json
import logging
import os
import random
import re
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic

from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import RuleBasedStateMachine, run_state_machine_as_test
from rich.console import Console
from rich.table import Table

TESTS = Path(__file__).parent
sys.path[:0] = [str(TESTS), str(TESTS.parent)]

from agentprm_dagster.provenance.store import ArtifactStore  # noqa: E402
from agentprm_dagster.provenance.verify import verify  # noqa: E402
from bad_commands import BAD_INPUTS  # noqa: E402
from bad_inputs import answer  # noqa: E402
from histories import StoreHistory  # noqa: E402
from kills import RUN  # noqa: E402
from loop_histories import LoopHistory  # noqa: E402
from odd_servers import odd_answers  # noqa: E402
from races import race  # noqa: E402
from toy import write_toy  # noqa: E402

Attempt = Callable[[int], int]
"""Tries something with a seed; how many things were tried. Raises where one of them failed."""

FAILURES_SHOWN = 5
"""Of each ordeal, in the JSON."""

RACES = 10
"""At each try."""

SEED = "AGENTPRM_TORTURE_SEED"
"""Tells tests that draw at random which seed to draw with."""


@dataclass
class Outcome:
    """What became of one ordeal."""

    name: str
    tried: int = 0
    failed: int = 0
    seconds: float = 0.0
    failures: list[str] = field(default_factory=list)

    def fail(self, words: str) -> None:
        """Counts a failure, and keeps the first few."""
        self.failed += 1
        if len(self.failures) < FAILURES_SHOWN:
            self.failures.append(words[-4000:])


def histories(machine: type[RuleBasedStateMachine], examples: int, steps: int) -> Attempt:
    """Random histories of a state machine."""
    plan = settings(
        max_examples=examples,
        stateful_step_count=steps,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )

    def attempt(seed: int) -> int:
        run_state_machine_as_test(machine, settings=plan)
        return examples

    return attempt


def bad_inputs(seed: int) -> int:
    """Some of the bad inputs, each in a folder of its own."""
    some = random.Random(seed).sample(BAD_INPUTS, 50)
    for bad in some:
        with TemporaryDirectory() as folder:
            told = answer(bad, Path(folder))
            assert not told.faults(bad), f"{bad.name}: {told.faults(bad)}\n{told.text[-2000:]}"
    return len(some)


def killed_runs(seed: int) -> int:
    """`agentprm run` of the toy, killed (-9) at moments drawn at random until it ends: what a calm run makes."""
    rng, kills = random.Random(seed), 0
    with TemporaryDirectory() as folder:
        root = Path(folder)
        write_toy(root / "experiments")
        environment = {**os.environ, "AGENTPRM_EXPERIMENTS": str(root / "experiments"), "PYTHONPATH": str(TESTS)}
        homes = {name: root / name for name in ("calm", "killed")}
        for home in homes.values():
            home.mkdir()

        def run(name: str, seconds: float | None) -> int:
            command = [sys.executable, "-c", RUN, str(homes[name])]
            process = subprocess.Popen(
                command,
                env={**environment, "AGENTPRM_HOME": str(homes[name])},
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
            try:
                return process.wait(seconds)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                return process.wait()

        start = monotonic()
        assert run("calm", None) == 0
        whole = monotonic() - start
        while kills < 6 and run("killed", rng.uniform(0.2, 1) * whole) != 0:
            kills += 1
        assert run("killed", None) == 0
        made = [
            {str(made.version.partition): made.digest for made in ArtifactStore(home / "artifacts").artifacts()}
            for home in homes.values()
        ]
        assert made[0] == made[1]
        found = verify(ArtifactStore(homes["killed"] / "artifacts"))
        assert found.sound, found.problems
    return kills + 1


def races(seed: int) -> int:
    """Writers, sweeps and verifications at one time, in stores of their own."""
    for number in range(RACES):
        with TemporaryDirectory() as folder:
            race(Path(folder) / "store", seed * RACES + number, steps=25)
    return RACES


def tests(*names: str) -> Attempt:
    """Tests that draw at random, or try many things each."""

    def attempt(seed: int) -> int:
        command = [sys.executable, "-m", "pytest", "-x", "--no-header", *(str(TESTS / name) for name in names)]
        ran = subprocess.run(
            command, env={**os.environ, SEED: str(seed)}, cwd=TESTS.parent, capture_output=True, text=True, check=False
        )
        assert ran.returncode == 0, ran.stdout
        counted = re.search(r"(\d+) passed", ran.stdout)
        assert counted, ran.stdout
        return int(counted[1])

    return attempt


ORDEALS: dict[str, Attempt] = {
    "histories of a store": histories(StoreHistory, 20, 25),
    "histories of a loop in Dagster": histories(LoopHistory, 3, 12),
    "runs killed at any moment": killed_runs,
    "trainings killed at any step": tests("training/test_resume.py"),
    "commits killed at every disk event, full disks": tests("provenance/test_crash.py"),
    "writers, sweeps and verifications at one time": races,
    "filesystems without locks or syncs": tests("provenance/test_filesystem.py"),
    "bad inputs": bad_inputs,
    "odd servers": lambda seed: odd_answers(seed, 200),
}


def torture(minutes: float, names: Sequence[str], seed: int, console: Console) -> list[Outcome]:
    """Every ordeal by turns, whichever has had least time next, each at least once."""
    outcomes = {name: Outcome(name) for name in names}
    end, attempts = monotonic() + 60 * minutes, 0
    while monotonic() < end or any(not outcome.seconds for outcome in outcomes.values()):
        outcome = min(outcomes.values(), key=lambda each: each.seconds)
        start, attempts = monotonic(), attempts + 1
        try:
            outcome.tried += ORDEALS[outcome.name](seed + attempts)
        except Exception:  # whatever it is, it is a failure to be told, and the others go on
            outcome.tried += 1
            outcome.fail(f"seed {seed + attempts}\n{traceback.format_exc()}")
        outcome.seconds += monotonic() - start
        left = max(0.0, (end - monotonic()) / 60)
        console.print(f"{outcome.name}: {outcome.tried} tried, {outcome.failed} failed; {left:.0f} minutes left")
    return list(outcomes.values())


def main() -> int:
    """Reads the command line; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=20.0, help="how long, all ordeals together")
    parser.add_argument("--only", action="append", choices=list(ORDEALS), help="these ordeals alone")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--json", type=Path, default=TESTS.parent / "build" / "torture.json", help="where it is written"
    )
    given = parser.parse_args()
    logging.disable(logging.WARNING)  # of damage that was done on purpose
    outcomes = torture(given.minutes, given.only or list(ORDEALS), given.seed, Console(stderr=True))
    given.json.parent.mkdir(parents=True, exist_ok=True)
    given.json.write_text(json.dumps([asdict(outcome) for outcome in outcomes], indent=2), encoding="utf-8")
    table = Table("ordeal", "tried", "failed", "minutes")
    for outcome in outcomes:
        table.add_row(outcome.name, str(outcome.tried), str(outcome.failed), f"{outcome.seconds / 60:.1f}")
    Console().print(table)
    return int(any(outcome.failed for outcome in outcomes))


if __name__ == "__main__":
    sys.exit(main())
