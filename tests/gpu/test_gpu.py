"""Every stage's computing on a pretended accelerator: no operation that a GPU would refuse."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from agentprm_dagster.envs.alfworld.playable import PlayableGame
from agentprm_dagster.episodes.records import Episode
from agentprm_dagster.episodes.tables import write_episodes

TESTS = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def refused(
    taught_folder: Path,
    rollouts: list[Episode],
    demonstrations: list[Episode],
    household_games: list[PlayableGame],
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[str, dict[str, int]]:
    """By part: how often which operation, in which line."""
    folder = tmp_path_factory.mktemp("gpu")
    for name, episodes in (("rollouts", rollouts), ("demonstrations", demonstrations)):
        (folder / name).mkdir()
        write_episodes(episodes, folder / name)
    games = Path(household_games[0].ref.path)
    root = next(parent for parent in games.parents if (parent / "generated.json").exists())
    arguments = (taught_folder, folder / "rollouts", folder / "demonstrations", root)
    command = [sys.executable, "-m", "gpu.parts", *map(str, arguments)]
    ran = subprocess.run(command, cwd=TESTS, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    found: dict[str, dict[str, int]] = json.loads(ran.stdout.splitlines()[-1])
    return found


def test_a_gpu_would_refuse_nothing(refused: dict[str, dict[str, int]]) -> None:
    assert len(refused) == 9
    assert {part: faults for part, faults in refused.items() if faults} == {}
