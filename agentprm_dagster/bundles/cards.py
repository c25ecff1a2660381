"""The cards of a bundle: what every folder holds, for people and for the Hugging Face hub, written from its records."""

from collections.abc import Mapping

from agentprm_dagster.bundles.bundle_card import bundle_card
from agentprm_dagster.bundles.data_cards import evaluation_card, rollouts_card, targets_card
from agentprm_dagster.bundles.errors import BundleError
from agentprm_dagster.bundles.findings import Check
from agentprm_dagster.bundles.model_cards import policy_card, reward_card
from agentprm_dagster.bundles.opened import Opened
from agentprm_dagster.bundles.record import CARD, EVALUATION, POLICY, REWARD, ROLLOUTS, TARGETS, read_text


def cards(opened: Opened) -> Mapping[str, str]:
    """The text of every card, by its place in the bundle."""
    written = {
        CARD: bundle_card(opened),
        f"{POLICY}/{CARD}": policy_card(opened),
        f"{REWARD}/{CARD}": reward_card(opened),
        f"{ROLLOUTS}/{CARD}": rollouts_card(opened),
        f"{EVALUATION}/{CARD}": evaluation_card(opened),
    }
    return {**written, f"{TARGETS}/{CARD}": targets_card(opened)} if TARGETS in opened.record.contents else written


def write_cards(opened: Opened) -> None:
    """Writes them; none is there yet."""
    for place, text in cards(opened).items():
        with (opened.folder / place).open("x", encoding="utf-8") as file:
            file.write(text)


def check_cards(opened: Opened) -> Check:
    """Every card against what the records give, where it was worded by this code."""
    expected = cards(opened)
    counted = f"{len(expected)} cards"
    found = tuple(each for place, text in expected.items() if (each := _difference(opened, place, text)))
    if found and not opened.record.by_this_code:
        commit = opened.record.exported_by.git_commit or "that was not recorded"
        return Check("cards", counted, not_done=(f"they were written by other code (commit {commit}): {found[0]}",))
    return Check("cards", counted, found)


def _difference(opened: Opened, place: str, expected: str) -> str:
    """The first line that is another; empty where none is."""
    try:
        written = read_text(opened.folder / place)
    except BundleError as error:
        return f"{place}: {error}"
    if written == expected:
        return ""
    lines, wanted = [*written.splitlines(), ""], [*expected.splitlines(), ""]
    i = next((i for i, pair in enumerate(zip(lines, wanted, strict=False)) if pair[0] != pair[1]), 0)
    return f"{place}, line {i + 1}: {lines[i]!r} is written, and the records give {wanted[i]!r}"
