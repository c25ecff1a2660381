"""What stands in deploy/: the commands that its files start and the variables that they set."""

import shlex
from pathlib import Path
from typing import Any

import yaml

FOLDER = Path(__file__).parents[1] / "deploy"
COMPOSE: dict[str, Any] = yaml.safe_load((FOLDER / "compose.yaml").read_text(encoding="utf-8"))
UNITS = {path.stem.removeprefix("agentprm-"): path for path in sorted((FOLDER / "systemd").iterdir())}
PROGRAMS = "/opt/agentprm/bin/"


def unit(name: str) -> dict[str, list[str]]:
    """The settings of a systemd unit, each with all the values that it is given."""
    return _settings(UNITS[name])


def unit_command(name: str, setting: str = "ExecStart") -> list[str]:
    """What a unit starts, without the folder of the program."""
    (line,) = unit(name)[setting]
    program, *arguments = shlex.split(line)
    assert program.startswith(PROGRAMS), line
    return [program.removeprefix(PROGRAMS), *arguments]


def variables(file: str) -> dict[str, str]:
    """The variables of a file for `EnvironmentFile=` and `env_file:`."""
    return {name: value for name, (value,) in _settings(FOLDER / file).items()}


def _settings(path: Path) -> dict[str, list[str]]:
    settings: dict[str, list[str]] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        if line and line[0] not in "#[":
            name, equals, value = line.partition("=")
            assert equals, f"{path.name}: {line}"
            settings.setdefault(name, []).append(value)
    return settings
