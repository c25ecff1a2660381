"""LoRA adapters (peft): small trained matrices beside a pretrained model's own, which stay as they are.

An adapter's checkpoint is a folder as peft and vLLM read it, with the model's configuration and tokenizer, and with
`base.json`, which names the pretrained model and the digest of its files: it is loaded upon that model and no other. A
process reward model's holds the new head as well.
"""

import copy
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from pydantic import BaseModel, ValidationError
from safetensors.torch import load_file, save_file
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from agentprm_dagster.engine.base_model import base_folder, base_identity
from agentprm_dagster.engine.checkpoint_files import ADAPTER, ADAPTER_WEIGHTS, CheckpointError, read_object
from agentprm_dagster.engine.settings import Lora, Model

if TYPE_CHECKING:
    from peft import LoraConfig

BASE = "base.json"

_NAME = "default"
"""What peft calls the adapter of a model that has one."""
_PREFIX = "base_model.model."
"""What peft puts before the names of a model's weights."""
_HEAD, _HEAD_WEIGHT = "score", "score.weight"


class Base(BaseModel):
    """The pretrained model that an adapter belongs to."""

    model_config = {"extra": "forbid", "frozen": True}

    model: Model
    digest: str
    """sha256 of its files (`engine.base_model.base_identity`)."""

    def folder(self) -> Path:
        """Where its checkpoint lies.

        Raises:
            BaseModelError: it is neither here nor can be fetched.
            CheckpointError: its files are others than those that the adapter was trained upon.
        """
        if (now := base_identity(self.model)["base_model"]) != self.digest:
            raise CheckpointError(
                f"the adapter was trained upon {self.model.name} with the digest {self.digest[:16]}, and its files now "
                f"have {now[:16]}: set model.revision to the commit that it was trained upon, or train it anew"
            )
        return base_folder(self.model)


def base_of(folder: Path) -> Base:
    """The pretrained model that the adapter in a folder belongs to.

    Raises:
        CheckpointError: the adapter was not made here.
    """
    if not (folder / BASE).is_file():
        raise CheckpointError(
            f"{folder} holds an adapter ({ADAPTER}) that was not trained here: merge it into its base model (peft's "
            "merge_and_unload) and save that"
        )
    try:
        return Base.model_validate(read_object(folder / BASE))
    except ValidationError as error:
        raise CheckpointError(f"{folder / BASE}: expected a model and the digest of its files: {error}") from error


def add(model: PreTrainedModel, lora: Lora, base: Base, *, seed: int) -> None:
    """Puts a new adapter beside all linear maps of a model's backbone; it alone is trained, with the head of a PRM."""
    from peft import LoraConfig  # seconds to import

    linear = {
        name.rpartition(".")[2] for name, each in model.base_model.named_modules() if isinstance(each, torch.nn.Linear)
    }
    config = LoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha,
        target_modules=sorted(linear),
        base_model_name_or_path=base.model.name,
        revision=base.model.revision,
    )
    torch.manual_seed(seed)
    _put(model, config, base)


def put(model: PreTrainedModel, folder: Path, *, new_head: bool = False) -> None:
    """Puts a saved adapter upon the pretrained model that it belongs to, with a PRM's head unless that stays as it is.

    Raises:
        CheckpointError: the folder's weights are not those of an adapter of this model.
    """
    from peft import LoraConfig

    config = replace(LoraConfig.from_pretrained(str(folder)), modules_to_save=None)  # the head is put here
    _put(model, config, base_of(folder))
    own = _own_weights(model)
    saved = {name.removeprefix(_PREFIX): tensor for name, tensor in load_file(folder / ADAPTER_WEIGHTS).items()}
    if new_head:
        own.pop(_HEAD_WEIGHT)
        saved.pop(_HEAD_WEIGHT, None)
    if own.keys() != saved.keys():
        role = "process reward model" if hasattr(model, _HEAD) else "policy"
        raise CheckpointError(
            f"{folder / ADAPTER_WEIGHTS} is not the adapter of a {role}: it lacks "
            f"{sorted(own.keys() - saved.keys())[:3]} and has besides {sorted(saved.keys() - own.keys())[:3]}"
        )
    with torch.no_grad():
        for name, tensor in saved.items():
            own[name].copy_(tensor)


def _put(model: PreTrainedModel, config: "LoraConfig", base: Base) -> None:
    from peft import LoraModel

    LoraModel(model, {_NAME: config}, _NAME)
    model.adapter_base = base
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(f".{_NAME}." in name or name == _HEAD_WEIGHT)
        if parameter.requires_grad:
            parameter.data = parameter.data.float()


def _own_weights(model: PreTrainedModel) -> dict[str, torch.nn.Parameter]:
    """What is trained, by the names that peft saves it under."""
    named = model.named_parameters()
    return {name.replace(f".{_NAME}.", "."): parameter for name, parameter in named if parameter.requires_grad}


def has_adapter(model: PreTrainedModel) -> bool:
    """Whether a model in memory has an adapter that is not merged."""
    return "adapter_base" in vars(model)


def merge(model: PreTrainedModel) -> None:
    """Adds an adapter to the weights that it stands beside; what is left is an ordinary model."""
    if not has_adapter(model):
        return
    from peft.tuners.lora import LoraLayer

    del model.adapter_base
    for name, layer in list(model.named_modules()):
        if isinstance(layer, LoraLayer):
            layer.merge(safe_merge=True)
            parent, _, attribute = name.rpartition(".")
            setattr(model.get_submodule(parent), attribute, layer.get_base_layer())


def frozen_copy(model: PreTrainedModel) -> PreTrainedModel:
    """The model as it is now; what is not trained is shared with it and takes no memory."""
    shared = {id(parameter): parameter for parameter in model.parameters() if not parameter.requires_grad}
    return copy.deepcopy(model, shared).requires_grad_(False)


def save(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
    """Writes the adapter as peft does, the model's configuration, the tokenizer, and which model it belongs to.

    Its weights are in float32, as they were trained.
    """
    base, head = model.adapter_base, [_HEAD] if hasattr(model, _HEAD) else None
    tensors = {f"{_PREFIX}{name}": weight.detach().cpu().contiguous() for name, weight in _own_weights(model).items()}
    save_file(tensors, folder / ADAPTER_WEIGHTS)
    replace(model.peft_config[_NAME], modules_to_save=head).save_pretrained(str(folder))
    model.config.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    (folder / BASE).write_text(base.model_dump_json(indent=2), encoding="utf-8")
