"""Settings that nothing can be made of: wrong values of every setting there is, and those that do not go together."""

from collections.abc import Iterator

from pydantic import BaseModel

from agentprm_dagster.config import Experiment
from agentprm_dagster.config.kinds import USUAL
from agentprm_dagster.config.kinds import settings_of as kinds_of
from bad_inputs import BadInput

WRONG_ANYWHERE = ("-1", "1000000000001", "[{a: 1}, {b: 2}]")
"""Values that no setting takes."""


def settings_of(section: type[BaseModel], place: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The names of all settings, section by section."""
    for name, info in section.model_fields.items():
        kind = info.annotation
        if not place and name in USUAL:
            kind = kinds_of(name)[USUAL[name]]
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield from settings_of(kind, (*place, name))
        else:
            yield (*place, name)


def with_setting(place: tuple[str, ...], value: str) -> str:
    """The YAML that sets one setting."""
    return f"{place[0]}: {value}" if len(place) == 1 else f"{place[0]}: {{{with_setting(place[1:], value)}}}"


def refused(name: str, text: str | bytes, *words: str) -> BadInput:
    """A YAML that is asked to be run."""
    return BadInput(name, ("run", "tried"), ("tried.yaml", *words), {"experiments/tried.yaml": text})


EVERY_SETTING = tuple(
    refused(f"{'.'.join(place)}: {value}", with_setting(place, value), ".".join(place), "line 1")
    for place in settings_of(Experiment)
    if place != ("name",)
    for value in WRONG_ANYWHERE
)

_OFF = "rollouts: {branch_states: 0, per_game: 1}"
_BY_PRM = "prm: {loss: relative}"

TOGETHER = {
    "branch_actions 1 leaves nothing to compare": "rollouts: {branch_actions: 1}",
    "train: 3 is too few for valid_seen": "environment: {train: 3}",
    "train: 5 is too few": "environment: {train: 5}",
    "rollouts explore 1 games": "environment: {train: 1, valid_seen: null}\nevaluation: {splits: valid_unseen}",
    "rollouts explore 1 games,": "rollouts: {games: 1}",
    "held_out_games: 0.99": "targets: {held_out_games: 0.99}\nenvironment: {train: 12}",
    "rollouts.games: 1001 asks for more than the 1000": "rollouts: {games: 1001}",
    "rollouts.games: 600 asks for more than the 500": "rollouts: {games: 600}\nenvironment: {demonstrated: 0.5}",
    "rollouts.games: 20 asks": "rollouts: {games: 20}\nenvironment: {source: alfworld, train: 10}",
    "gates.min_wins: 5000": "gates: {min_wins: 5000}",
    "gates.min_losses: 4191": "gates: {min_losses: 4191}",
    "gates.min_wins: 10 and gates.min_losses: 10 ask for more episodes than the 4": "environment: {train: 6}\n"
    "rollouts: {games: 2, per_game: 2, branch_states: 0}",
    "committee: 8 members": "improvement: {panel: {every: 1, committee: 8}}\nrollouts: {games: 8}",
    "committee 1: disagreement needs at least 2": "improvement: {panel: {every: 1, committee: 1}}",
    "panel.every: 151 is more than steps: 150": "improvement: {panel: {every: 151}}",
    "tripwire: kl needs measurements": "improvement: {panel: {tripwire: kl}}",
    "limit 1: disagreement stops": "improvement: {panel: {every: 1, committee: 2, tripwire: disagreement, limit: 1}}",
    "several actions tried in one state": f"{_OFF}\n{_BY_PRM}",
    "rollouts.max_new_tokens: no less than model.context: 256": "rollouts: {max_new_tokens: 256}\n"
    "model: {context: 256}",
    "improvement.max_new_tokens": "improvement: {max_new_tokens: 2048}",
    "improvement.reward: Input should be None": "improvement: {kind: rft, reward: prm}",
    "improvement.steps: no such setting": "improvement: {kind: grpo, steps: 3}",
    "promotion.hacking: improvement.kind: rft trains no PRM": (
        "improvement: {kind: rft}\npromotion: {hacking: overestimates}"
    ),
    "lookahead compares different states": ("improvement: {kind: grpo}\nevaluation: {lookahead: {worlds: oracle}}"),
    "world_model.max_reply_tokens": "world_model: {max_reply_tokens: 2048}",
    "revision 'main' is a hub model's": "model: {revision: main}",
    "and name is smollm2": "model: {name: smollm2, revision: main}",
    "and name is ./local": "model: {name: ./local, revision: v1}",
    "128 over heads 128 is 1": "model: {heads: 128}",
    "27 over heads 3 is 9": "model: {hidden_size: 27, heads: 3, kv_heads: 1}",
    "must be a multiple of heads 3": "model: {heads: 3}",
    "heads of kv_heads 3": "model: {kv_heads: 3}",
    "weights; at most 1e+09": "model: {hidden_size: 8192, layers: 64, intermediate_size: 32768}",
    "prm.init: base needs a pretrained": "prm: {init: base}",
    "sft.optimizer, inverse_prm.optimizer is muon": "model: {name: smollm2, lora: {}}\nprm: {optimizer: adamw}",
    "improvement.kind: trl trains all weights": (
        "model: {name: smollm2, lora: {}}\nsft: {optimizer: adamw}\nprm: {optimizer: adamw}\n"
        "inverse_prm: {optimizer: adamw}\nimprovement: {kind: trl}"
    ),
    "lora trains adapters beside a pretrained model": "model: {lora: {}}",
    "pretraining is for model.name: embedded": "model: {name: smollm2}\npretraining: {episodes: 5}",
    "improvement.rank_by: reply needs values": "improvement: {rank_by: reply}\nprm: {reply_weight: 0}",
    "compares answers that are read together": "prm: {loss: relative}\ndialogue: {format: restated}",
    "targets.values: prm reads chances": "targets: {kind: td_lambda, values: prm}\nprm: {reply_weight: 0}",
    "textworld tells no milestones": (
        "targets: {kind: milestones}\nenvironment: {kind: textworld}\nevaluation: {splits: valid_unseen}"
    ),
    "targets.kind: shaped reads values": "targets: {kind: shaped}\ndialogue: {format: restated}",
    "improvement.reward: prm has them": "improvement: {reward: inverse_prm, rank_by: reply}",
    "rollouts.expert_starts begins": "rollouts: {expert_starts: 0.5}\nenvironment: {demonstrated: 0.5}",
    "branch_placement: uncertainty compares": "rollouts: {branch_placement: uncertainty}\nprm: {loss: relative}",
    "calibration and committee are for PRMs": "improvement: {panel: {every: 1, committee: 2}}\nprm: {loss: relative}",
    "evaluation.lookahead needs": "evaluation: {lookahead: {worlds: oracle}}\nprm: {reply_weight: 0}",
    "evaluation.lookahead compares": "evaluation: {lookahead: {worlds: oracle}}\nprm: {loss: relative}",
    "set environment.held_out_rooms above 0": "evaluation: {splits: train_held_out}",
    "set environment.valid_unseen above 0": "environment: {valid_unseen: 0}",
    "set environment.train, valid_seen above 0": "environment: {train: null, valid_seen: null}",
    "evaluation.games: 201 asks": "evaluation: {games: 201}",
    "held_out_rooms: 0.1 parts": "environment: {held_out_rooms: 0.1}",
    "expert: llm needs action_noise: 0": "demonstrations: {expert: llm, action_noise: 0.1}",
    "budget_money needs prices": "llm: {budget_money: 5}",
    "request names stream": "llm: {request: {stream: true}}",
    "improvement.panel: no such setting": "improvement: {kind: trl, panel: {every: 1}}",
    "rank_by: Input should be 'answer'": "improvement: {kind: trl, rank_by: reply}",
    "improvement.temperature": "improvement: {temperature: 0}",
    "evaluation.best_of_temperature": "evaluation: {best_of_temperature: 0}",
    "rollouts.branch_temperature": "rollouts: {branch_temperature: 0}",
    "improvement.min_gap": "improvement: {min_gap: 1}",
    "each once, got 4, 4": "evaluation: {best_of: [4, 4]}",
    "evaluation.best_of.0": "evaluation: {best_of: 1}",
    "model.layers": "model: {layers: 1000000000}",
    "model.context": "model: {context: 10}",
    "model.name": "model: {name: ''}",
}
"""What the answer names, and settings each of which may be right, but not with the others."""

ODD_YAML: dict[str, tuple[str | bytes, str]] = {
    "an octal number": ("seed: 010", "seed: Input should be a valid integer, got '010': write"),
    "a 1.2 octal number": ("seed: 0o17", "got '0o17'"),
    "a binary number": ("seed: 0b11", "got '0b11'"),
    "a sexagesimal number": ("seed: 1:30", "got '1:30'"),
    "a sexagesimal fraction": ("sft: {epochs: 1:30.5}", "got '1:30.5'"),
    "underscores": ("seed: 1_000", "got '1_000'"),
    "a comma": ("sft: {epochs: 0,5}", "5"),
    "a decimal comma": ("sft:\n  epochs: 0,5", "got '0,5'"),
    "on": ("pretraining: {hindsight: on}", "got 'on': write true or false"),
    "yes": ("llm: {evaluate: yes}", "got 'yes': write true or false"),
    "off as a number": ("iterations: off", "got 'off'"),
    "a quoted number": ("seed: '1'", "got '1': write a whole number"),
    "a fraction for a count": ("iterations: 1.5", "got 1.5"),
    "an exponent for a count": ("seed: 1e3", "got 1000.0"),
    "a date": ("seed: 2026-01-01", "got '2026-01-01'"),
    "infinity": ("sft: {epochs: .inf}", "finite"),
    "no number": ("sft: {epochs: .nan}", "finite"),
    "no number in a request": ("llm: {request: {top_p: .nan}}", "llm.request.top_p"),
    "a number for a text": ("description: 12", "description: Input should be a valid string, got 12: put it in quotes"),
    "an alias": ("llm: {request: {a: &a [1], b: *a}}", "alias"),
    "an anchor": ("environment: &games {train: 12}", "anchor"),
    "a billion aliases": (
        "a: &a [x, x, x, x]\nb: &b [*a, *a, *a, *a]\nc: &c [*b, *b, *b, *b]\nllm: {request: {x: *c}}",
        "line 1",
    ),
    "a merge": ("sft:\n  <<: {epochs: 2}", "sft.<<"),
    "a tag": ("seed: !!int 010", "tag"),
    "code": ("seed: !!python/object/apply:os.system ['true']", "tag"),
    "two documents": ("seed: 1\n---\nseed: 2", "single document"),
    "a key twice": ("seed: 1\nseed: 2", "'seed' is named twice"),
    "a list for a key": ("? [seed]\n: 1", "unhashable key"),
    "a tab": ("seed: 1\n\tsft: 1", "line 2"),
    "an open bracket": ("environment: {train: 12", "line 1"),
    "an open quote": ("description: 'x", "line 1"),
    "3,000 levels": ("llm: {request: {a: " + "[" * 3000 + "]" * 3000 + "}}", "at most 20 levels"),
    "3,000 open brackets": ("[" * 3000, "at most 20 levels"),
    "5,000 digits": ("seed: " + "9" * 5000, "at most 40 digits"),
    "5,000 digits in a request": ("llm: {request: {seed: " + "9" * 5000 + "}}", "at most 40 digits"),
    "too many bytes": ("# " + "x" * 70_000, "at most 65536 bytes"),
    "half a letter": ('description: "\\ud800"', "half a letter"),
    "a zero byte": ("seed: \x00", "special characters"),
    "latin 1": ("description: Städte".encode("latin-1"), "save it as UTF-8"),
    "utf-16": ("seed: 1".encode("utf-16"), "save it as UTF-8"),
    "a picture": (b"\x89PNG\r\n\x1a\n\x00", "save it as UTF-8"),
    "a list": ("- seed: 1", "expected a mapping of settings, got list"),
    "a word": ("seed", "expected a mapping of settings, got str"),
    "a name": ("name: other", "named after its file"),
    "an unknown section": ("rolouts: {games: 5}", "did you mean rollouts?"),
    "an unknown setting": ("rollouts: {game: 5}", "rollouts.game: no such setting; did you mean games?"),
    "an unknown setting far from any": ("sft: {zzz: 5}", "there are: epochs, optimizer"),
    "an unknown setting of an environment": (
        "environment: {trian: 5}",
        "environment.trian: no such setting; did you mean train?",
    ),
    "an unknown kind": (
        "targets: {kind: td}",
        "targets.kind: expected one of mc, shaped, td_lambda, milestones, got 'td'",
    ),
    "an unknown setting within a kind": (
        "targets: {kind: shaped, value: {epoch: 2}}",
        "targets.value.epoch: no such setting; did you mean epochs?",
    ),
    "a value within a kind": ("targets: {gamma: 2}", "targets.gamma: Input should be less than or equal to 1, got 2"),
    "an unknown setting of the panel": ("improvement: {panel: {evry: 5}}", "did you mean every?"),
    "an empty section": ("prm:", "prm: Input should be a valid dictionary"),
    "a number for a section": ("prm: 5", "write its settings below it"),
    "a number for a key": ("1: 2", "1: Keys should be strings"),
    "on for a key": ("on: 2", "on: no such setting"),
    "extends what is not": ("extends: smoker", "extends: expected one of"),
    "extends itself": ("extends: tried", "expected an experiment to begin with"),
    "extends two": ("extends: [smoke, quickstart]", "extends: expected one of"),
    "extends a number": ("extends: 3", "extends: expected one of"),
    "wrong below what it extends": (
        "extends: quickstart\nenvironment: {train: 400}",
        "rollouts.games: 1200 asks for more",
    ),
    "a hundred wrong settings": ("\n".join(f"k{i}: 1" for i in range(100)), "and 92 more"),
}

BAD_SETTINGS = (
    *EVERY_SETTING,
    *(refused(f"together: {words}", text, words) for words, text in TOGETHER.items()),
    *(refused(f"yaml: {name}", text, words) for name, (text, words) in ODD_YAML.items()),
)
