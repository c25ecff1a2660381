"""The settings that a stage asks for: what it is given is what is recorded."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import reduce
from typing import Any


class SettingError(AttributeError):
    """A stage reads a setting that it has not asked for."""


@dataclass(frozen=True)
class AskedSettings:
    """An experiment, of which only what was asked for is there."""

    asked_by: str
    names: frozenset[str]
    """Sections, and single values by dotted names."""
    section: Any
    place: str = ""
    """Where the section stands: `gates.`; nothing for the experiment itself."""

    def __getattr__(self, name: str) -> Any:
        place = f"{self.place}{name}"
        if place in self.names:
            return getattr(self.section, name)
        if any(each.startswith(f"{place}.") for each in self.names):
            return AskedSettings(self.asked_by, self.names, getattr(self.section, name), f"{place}.")
        raise SettingError(
            f"{self.asked_by} reads {place}, and asked for {', '.join(sorted(self.names)) or 'none'}: name it in "
            "stage.settings(...), which records it"
        )


def picked(settings: dict[str, Any], names: Iterable[str]) -> dict[str, Any]:
    """The named sections, and single values by their dotted names, of an experiment's settings as JSON."""
    return {name: reduce(lambda part, key: part[key], name.split("."), settings) for name in names}
