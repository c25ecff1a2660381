"""Pretrained models are tried before anything is made for them, and what was found in order is remembered."""

from agentprm_dagster.config import Model
from agentprm_dagster.engine.base_model import base_folder, base_identity
from agentprm_dagster.episodes.dialogue import Format, Wording
from agentprm_dagster.home import checked_folder
from agentprm_dagster.provenance.canonical import digest_of
from agentprm_dagster.provenance.code import source_digest
from agentprm_dagster.provenance.environment import environment

_TRIAL = "agentprm_dagster.training.exactness"


def require_exact_base(model: Model, wording: Wording, dialogue: Format) -> None:
    """Tries a pretrained model, once for its bytes, this code and these libraries.

    Raises:
        ArchitectureError: it is not computed here as transformers computes it.
        BaseModelError: it is not there.
        CheckpointError: its folder cannot be loaded.
        ChatTemplateError: its chat template cannot write dialogues in this format.
    """
    if model.name == "embedded":
        return
    tried = {
        **base_identity(model),
        **environment(),
        "dialogue": dialogue,
        "rules": wording.rules,
        "code": source_digest(_TRIAL),
    }
    passed = checked_folder() / digest_of(tried)
    if not passed.exists():
        from agentprm_dagster.training.exactness import require_exact_model  # loads torch

        require_exact_model(base_folder(model), wording, dialogue)
        passed.parent.mkdir(parents=True, exist_ok=True)
        passed.touch()
