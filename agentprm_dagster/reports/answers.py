"""Whether the answers of a language model that is only asked were of use, and if not, why."""

from collections.abc import Sequence
from dataclasses import replace

from agentprm_dagster.episodes.records import Episode
from agentprm_dagster.episodes.stage import Gate, StageReport
from agentprm_dagster.episodes.usage import Asked

EXAMPLE = 200
"""How many characters of an answer or a refusal are quoted."""


def with_answers_gate(
    report: StageReport, episodes: Sequence[Episode], *, max_parse_failures: float, asked: Asked
) -> StageReport:
    """`report` with a gate on unparsed answers before its own, and what became of the answers on top of its page.

    A success rate of answers that could not be read says nothing about the model, and must not pass for 0%.
    """
    gate = answers_gate(episodes, max_parse_failures=max_parse_failures, asked=asked)
    notice = ""
    if not gate.passed:
        notice = f"**What stands below says nothing about the model.** {gate.message}\n\n"
    elif asked.refusals:
        notice = f"{_refusals(episodes, asked)}\n\n"
    return replace(report, gates=(gate, *report.gates), preview=notice + report.preview)


def answers_gate(episodes: Sequence[Episode], *, max_parse_failures: float, asked: Asked) -> Gate:
    """Fails if more than a share of the answers is not in the agreed form, or if every episode ended in a refusal."""
    turns = [turn for episode in episodes for turn in episode.turns]
    unparsed = [turn.response for turn in turns if not turn.parsed]
    share = len(unparsed) / len(turns) if turns else 0.0
    all_refused = len(asked.refusals) == len(episodes) > 0
    message = (
        f"{share:.1%} of {len(turns)} answers were not in the agreed form; at most {max_parse_failures:.1%} may be"
    )
    if share > max_parse_failures:
        message += _why(unparsed, asked)
    if asked.refusals:
        message += f". {_refusals(episodes, asked)}"
    return Gate("parse_failures", share <= max_parse_failures and not all_refused, message, share)


def _why(unparsed: Sequence[str], asked: Asked) -> str:
    example = next((answer for answer in unparsed if answer.strip()), "")
    quoted = f", as `{_quoted(example)}`" if example else ""
    return (
        f"{quoted}. Of all answers {asked.cut_answers} were cut at llm.max_new_tokens, {asked.empty_answers} were "
        f"empty and {asked.filtered_answers} ended by a content filter. Where answers are cut or empty: raise "
        "llm.max_new_tokens (a model that thinks first needs thousands), or ask for less thinking in llm.request, as "
        "{chat_template_kwargs: {enable_thinking: false}} or {reasoning_effort: low}; else choose a model that keeps "
        "to the form, or raise gates.max_parse_failures"
    )


def _refusals(episodes: Sequence[Episode], asked: Asked) -> str:
    return (
        f"{len(asked.refusals)} of {len(episodes)} episodes ended, lost, where the server refused the prompt for good: "
        f"`{_quoted(asked.refusals[0])}`"
    )


def _quoted(text: str) -> str:
    line = " ".join(text.replace("`", "'").split())
    return f"{line[:EXAMPLE]}..." if len(line) > EXAMPLE else line
