"""The card of a bundle as a whole: what lies where, how to check it, how to put it on the Hugging Face hub."""

from agentprm_dagster.bundles.opened import Opened
from agentprm_dagster.bundles.record import EVALUATION, LICENCES, LINEAGE, LOCK, POLICY
from agentprm_dagster.bundles.words import PAPER, numbers, repository, versions
from agentprm_dagster.reports.results import in_markdown

_MODELS = ("policy", "reward_model")


def bundle_card(opened: Opened) -> str:
    """Without metadata: the folders in it are what the hub takes."""
    record, experiment = opened.record, opened.experiment
    made = opened.manifest(EVALUATION)
    parts = [
        (f"`{part}/`", f"{version.asset}[{version.iteration}]", f"`{version.digest[:16]}`")
        for part, version in record.parts
    ]
    commit = made.code.git_commit or "a commit that was not recorded"
    kinds = [(part, "model" if part in _MODELS else "dataset") for part, _ in record.parts]
    uploads = "\n".join(
        f"hf upload {record.hub or 'ORG'}/{repository(opened, part)} {part} . --repo-type {kind}"
        for part, kind in kinds
    )
    return "\n\n".join(
        (
            f"# {experiment.name}, iteration {record.iteration}",
            f"A policy, the process reward model that it was improved against, and all that a stranger needs to check "
            f"what is said of them. The method is that of {PAPER}. {experiment.description}".strip(),
            in_markdown(("folder", "artifact", "digest"), parts),
            f"`{LINEAGE}/` has the manifest of each and of everything that they were made from, `experiment.yaml` all "
            f"settings, `games.json` the digest of every game, `{LICENCES}/` whose terms hold for what, `{LOCK}` the "
            "versions that the project is tested with, `bundle.json` the SHA-256 of every file.",
            numbers(opened, opened.rows),
            f"## Check it\n\nWith agentprm_dagster {made.code.version} at {commit}, offline, in any home:\n\n"
            "```bash\nagentprm check THIS_FOLDER\n```",
            f"## Put it on the hub\n\nIn this folder:\n\n```bash\n{uploads}\n```",
            f"## Made with\n\n{versions(opened.manifest(POLICY))}\n",
        )
    )
