"""What is wrong with settings, a line each: its name, what was expected, what came, where it stands."""

from difflib import get_close_matches

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from agentprm_dagster.config import Experiment
from agentprm_dagster.config.kinds import USUAL, settings_of
from agentprm_dagster.config.strict_yaml import Place

MOST_PROBLEMS = 8
"""How many wrong settings are named at once; the others come when these are mended."""

MOST_LETTERS = 60
"""How much of a wrong value is repeated."""

_WRITTEN = {
    "string_type": "put it in quotes",
    "int_type": "write a whole number such as 10: no quotes, no 0 before it, nothing between its digits",
    "float_type": "write a number such as 0.5 or 1e-3, without quotes",
    "bool_type": "write true or false, without quotes",
    "model_type": "write its settings below it, or leave it out",
}
"""By the kind of value that was expected."""

_MOVED = {
    "engine": "where and how models are computed is no part of an experiment: leave it out, and choose with --compute "
    "NAME or AGENTPRM_COMPUTE (docs/compute.md)",
}
"""What an experiment's settings were once, and where they went."""

Places = dict[Place, str]
"""Where every setting stands, such as `smoke.yaml, line 3`."""


def in_lines(error: ValidationError, places: Places, root: type[BaseModel] = Experiment) -> str:
    """The wrong settings of a `root` as indented lines, as many as fit."""
    problems = [f"{_problem(each, root)}{_place(_untagged(each['loc']), places)}" for each in error.errors()]
    more = [f"and {len(problems) - MOST_PROBLEMS} more"] if len(problems) > MOST_PROBLEMS else []
    return "\n".join(f"  {each}" for each in (*problems[:MOST_PROBLEMS], *more))


def _problem(error: ErrorDetails, root: type[BaseModel]) -> str:
    where, value = ".".join(map(str, _untagged(error["loc"]))), error["input"]
    if error["type"] == "extra_forbidden":
        return f"{where}: {_MOVED.get(where) or _alternatives(error['loc'], root)}"
    if error["type"] == "union_tag_invalid":
        known = ", ".join(settings_of(str(error["loc"][0])))
        return f"{where}.kind: expected one of {known}, got {shortened(repr(value['kind']))}"
    if error["type"] == "value_error":  # one of ours, which says it all
        return ": ".join(filter(None, (where, error["msg"].removeprefix("Value error, "))))
    if isinstance(value, dict | list):
        return f"{where}: {error['msg']}"
    return f"{where}: {error['msg']}, got {shortened(repr(value))}{_advice(error['type'], value)}"


def _untagged(place: Place) -> Place:
    """As the file has it: pydantic names the kind of a section behind its name."""
    return (*place[:1], *place[2:]) if place and place[0] in USUAL else place


def _place(where: Place, places: Places) -> str:
    """Where a setting or the section that it belongs to stands, if it stands anywhere."""
    known = next((where[:n] for n in range(len(where), 0, -1) if where[:n] in places), None)
    return f" ({places[known]})" if known else ""


def _alternatives(place: tuple[int | str, ...], root: type[BaseModel]) -> str:
    """The settings of the section that an unknown one stands in."""
    section, sections = root, place[:-1]
    if place[0] in USUAL and sections:  # ("targets", "shaped", ...)
        section, sections = settings_of(str(place[0]))[str(place[1])], place[2:-1]
    for name in sections:
        section = section.model_fields[str(name)].annotation  # type: ignore[assignment]  # sections hold sections
    close = get_close_matches(str(place[-1]), section.model_fields, 1)
    names = [field.alias or name for name, field in section.model_fields.items()]
    meant = f"did you mean {close[0]}?" if close else f"there are: {', '.join(names)}"
    return f"no such setting; {meant}"


def shortened(text: str) -> str:
    """What was given, cut where it is too long to be repeated in an error."""
    return text if len(text) <= MOST_LETTERS else f"{text[:MOST_LETTERS]}..."


def _advice(kind: str, value: object) -> str:
    """What to write instead of a value that YAML reads as another kind than it looks like."""
    return f": {_WRITTEN[kind]}" if kind in _WRITTEN and isinstance(value, str | int | float | None) else ""
