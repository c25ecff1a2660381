"""What a check of a bundle found."""

from dataclasses import dataclass

DIFFERS, NOT_ALL_DONE = 1, 3
"""Exit codes, beside 0; 2 is that of arguments which cannot be read."""


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was checked."""

    name: str
    counted: str
    """What was looked at, in numbers."""
    differences: tuple[str, ...] = ()
    """What is not as the bundle says, each in a sentence."""
    not_done: tuple[str, ...] = ()
    """What could not be checked here, and why."""


def exit_code(checks: list[Check]) -> int:
    """0: all was checked and nothing differs; 1: something differs; 3: nothing does, and not all could be checked."""
    if any(check.differences for check in checks):
        return DIFFERS
    return NOT_ALL_DONE if any(check.not_done for check in checks) else 0
