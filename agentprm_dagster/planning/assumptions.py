"""What no setting says and a plan needs: how long episodes and texts are, and how fast a device is.

All of it is printed with a plan, and `--assume NAME=VALUE` changes it. Texts are counted in tokens of a pretrained
model's tokenizer. Estimates, not measured here: lengths are of ALFWorld's games, rates of one NVIDIA H100 (SXM).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace


class AssumptionError(ValueError):
    """Something that is not assumed, or not a number."""


def _about(value: float, text: str) -> float:
    found: float = field(default=value, metadata={"about": text})
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Assumptions:
    """Numbers above 0."""

    games: float = _about(3257, "training games, where settings take all (the paper's section 2.3)")
    valid_games: float = _about(137, "games of a split that is evaluated, where settings take all (ALFWorld: 140, 134)")
    turns: float = _about(20, "decisions of an episode of the policy")
    expert_turns: float = _about(14, "decisions of a demonstration")
    opening: float = _about(200, "tokens before the first answer of an `append` dialogue")
    observation: float = _about(40, "tokens of a reply, with its frame in the chat template")
    answer: float = _about(60, "tokens of an answer, reason and action; at most max_new_tokens")
    restated: float = _about(750, "tokens of a `restated` prompt without its history")
    remembered: float = _about(55, "tokens of a turn in that history")
    fresh: float = _about(400, "tokens of a `restated` prompt that the turn before has not read at the same place")
    peak_bfloat16: float = _about(989e12, "operations a second of the device in bfloat16, dense (NVIDIA's data sheet)")
    peak_float32: float = _about(67e12, "the same in float32 (NVIDIA's data sheet)")
    training: float = _about(0.4, "share of that peak in training")
    prefill: float = _about(0.32, "the same while prompts are read: 50,000 tokens/s at 3.2 billion weights")
    decode: float = _about(0.08, "the same while answers are drawn, 128 at once or more: 12,000 tokens/s there")
    cpu: float = _about(5e11, "operations a second of a CPU, for what is computed there")
    targets: float = _about(217_000, "decisions a second that targets are computed for (`make bench`, one core)")


ABOUT = {each.name: str(each.metadata["about"]) for each in fields(Assumptions)}
"""What each of them is."""


def assume(texts: Sequence[str]) -> Assumptions:
    """The usual assumptions, changed by texts such as `turns=12`.

    Raises:
        AssumptionError: it is none of them, or not a number above 0.
    """
    changed: dict[str, float] = {}
    for text in texts:
        name, _, value = text.partition("=")
        if name not in ABOUT:
            raise AssumptionError(f"--assume {text}: expected one of {', '.join(ABOUT)}, as in turns=12")
        try:
            changed[name] = float(value)
        except ValueError as error:
            raise AssumptionError(f"--assume {text}: expected a number, got {value!r}") from error
        if not 0 < changed[name] < float("inf"):
            raise AssumptionError(f"--assume {text}: expected a number above 0")
    return replace(Assumptions(), **changed)
