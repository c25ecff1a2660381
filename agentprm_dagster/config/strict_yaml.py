"""YAML that means what it says: YAML 1.2's numbers and booleans, no aliases, and bounds on what a file may hold.

PyYAML reads YAML 1.1, where 010 is 8, 1:30 is 90 and `on` is true. Here only `true` and `false` are booleans, and only
decimal (or 0x) numbers without a leading zero are numbers; all else is text, which no setting takes for a number.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

MOST_BYTES = 2**16
MOST_DEPTH = 20
MOST_DIGITS = 40

_YAML = "tag:yaml.org,2002:"
_SCALARS = {
    "null": r"~|null|Null|NULL|",
    "bool": r"true|True|TRUE|false|False|FALSE",
    "int": r"[-+]?(0|[1-9][0-9]*|0x[0-9a-fA-F]+)",
    "float": r"[-+]?((\.[0-9]+|(0|[1-9][0-9]*)(\.[0-9]*)?)([eE][-+]?[0-9]+)?|\.(inf|Inf|INF))|\.(nan|NaN|NAN)",
}
"""How a value of each kind is written; what is written otherwise is text."""


Place = tuple[int | str, ...]
"""Where a value stands: the keys and positions that lead to it."""


def read_yaml(path: Path) -> tuple[Any, dict[Place, int]]:
    """The value in a YAML file, and the line of every value in it.

    Raises:
        OSError: it cannot be read, or is no file.
        ValueError: it is too large, or no text in UTF-8.
        yaml.YAMLError: it is no YAML, or has more in it than is read here; names the line.
    """
    with path.open("rb") as file:
        content = file.read(MOST_BYTES + 1)
    if len(content) > MOST_BYTES:
        raise ValueError(f"expected at most {MOST_BYTES} bytes, got more")
    return parse_yaml(content.decode("utf-8-sig"), path.name)


def parse_yaml(text: str, name: str) -> tuple[Any, dict[Place, int]]:
    """The value of a text that errors call `name`, and the line of every value in it; yaml.YAMLError as `read_yaml`."""
    loader = _Loader(text)
    loader.name = name
    node = loader.get_single_node()
    return (loader.construct_document(node), dict(_lines(node))) if node else (None, {})


def _lines(node: yaml.Node, place: Place = ()) -> Iterator[tuple[Place, int]]:
    yield place, node.start_mark.line + 1
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            yield from _lines(value, (*place, str(key.value)))
    elif isinstance(node, yaml.SequenceNode):
        for i, value in enumerate(node.value):
            yield from _lines(value, (*place, i))


class _Loader(yaml.SafeLoader):
    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        event = self.peek_event()
        if isinstance(event, yaml.AliasEvent) or any(getattr(event, name, None) for name in ("anchor", "tag")):
            raise _fault("expected plain settings, got an alias (*), an anchor (&) or a tag (!): write it out", event)
        if self._depth == MOST_DEPTH:
            raise _fault(f"expected at most {MOST_DEPTH} levels, got more", event)
        self._depth += 1
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node = super().compose_mapping_node(anchor)
        names: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value in names:
                raise yaml.composer.ComposerError(
                    "in settings that begin", node.start_mark, f"{key.value!r} is named twice", key.start_mark
                )
            names |= {key.value} if isinstance(key, yaml.ScalarNode) else set()
        return node

    def construct_scalar(self, node: yaml.ScalarNode | yaml.MappingNode) -> Any:
        if node.tag in (f"{_YAML}int", f"{_YAML}float") and len(node.value) > MOST_DIGITS:
            raise _fault(f"expected a number of at most {MOST_DIGITS} digits, got {len(node.value)}", node)
        if any("\ud800" <= letter <= "\udfff" for letter in str(node.value)):
            raise _fault("expected text, got half a letter (\\ud800 to \\udfff): write the letter itself", node)
        return super().construct_scalar(node)


def _fault(problem: str, place: Any) -> yaml.MarkedYAMLError:
    return yaml.composer.ComposerError(None, None, problem, place.start_mark)


_Loader.yaml_implicit_resolvers = {}
for _kind, _pattern in _SCALARS.items():
    _Loader.add_implicit_resolver(f"{_YAML}{_kind}", re.compile(rf"(?:{_pattern})\Z", re.ASCII), None)
