"""A packed tree of segments reads as every path for itself."""

from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import LlamaConfig, LlamaForCausalLM, LlamaForSequenceClassification

from agentprm_dagster.engine.embedded.attention import use_grouped_attention
from agentprm_dagster.engine.embedded.token_tree import ROOT, TokenTree, alike, read_trees

Paths = list[list[int]]
"""For each segment the indices of the path from the root to its end."""


@st.composite
def trees(draw: st.DrawFn) -> tuple[TokenTree, Paths]:
    """Any tree of up to eight segments, some of them with another root, and its paths kept by hand."""
    tree, paths = TokenTree(), Paths()
    for _ in range(draw(st.integers(1, 8))):
        ids = draw(st.lists(st.integers(0, 29), min_size=1, max_size=5))
        start = len(tree)
        if paths and draw(st.integers(0, 9)) > 0:
            parent = draw(st.integers(0, len(paths) - 1))
            length = draw(st.integers(1, len(paths[parent])))
        else:
            parent, length = ROOT, 0
        inherited = paths[parent][:length] if length else []
        assert tree.add(ids, parent=parent, length=length) == len(paths)
        paths.append([*inherited, *range(start, start + len(ids))])
    return tree, paths


@given(trees(), st.integers(0, 3))
def test_a_token_sees_its_path_and_nothing_else(built: tuple[TokenTree, Paths], padding: int) -> None:
    tree, paths = built
    mask = torch.zeros(len(tree) + padding, len(tree) + padding, dtype=torch.bool)
    tree.fill(mask)
    expected = torch.zeros_like(mask)
    for path in paths:
        for place, index in enumerate(path):
            expected[index, path[: place + 1]] = True
            assert tree.positions[index] == place
    assert torch.equal(mask, expected)


@given(trees())
def test_index_finds_a_segments_tokens(built: tuple[TokenTree, Paths]) -> None:
    tree, paths = built
    start = 0
    for segment, path in enumerate(paths):
        own = [index for index in path if index >= start]
        assert [tree.index(segment, offset) for offset in range(len(own))] == own
        start += len(own)


def test_by_hand() -> None:
    tree = TokenTree()
    episode = tree.add([10, 11, 12, 13, 14])
    branch = tree.add([20, 21], parent=episode, length=3)
    twig = tree.add([30], parent=branch, length=4)
    assert tree.ids == [10, 11, 12, 13, 14, 20, 21, 30]
    assert tree.positions == [0, 1, 2, 3, 4, 3, 4, 4]
    assert tree.index(twig, 0) == 7
    mask = torch.zeros(8, 8, dtype=torch.bool)
    tree.fill(mask)
    assert mask.int().tolist() == [
        [1, 0, 0, 0, 0, 0, 0, 0],
        [1, 1, 0, 0, 0, 0, 0, 0],
        [1, 1, 1, 0, 0, 0, 0, 0],
        [1, 1, 1, 1, 0, 0, 0, 0],
        [1, 1, 1, 1, 1, 0, 0, 0],
        [1, 1, 1, 0, 0, 1, 0, 0],
        [1, 1, 1, 0, 0, 1, 1, 0],
        [1, 1, 1, 0, 0, 1, 0, 1],
    ]


@pytest.mark.parametrize(("parent", "length"), [(0, 4), (ROOT, 1)])
def test_nothing_continues_beyond_its_parents_end(parent: int, length: int) -> None:
    tree = TokenTree()
    tree.add([1, 2, 3])
    with pytest.raises(ValueError, match=f"segment {parent} ends before length {length}: nothing there to continue"):
        tree.add([4], parent=parent, length=length)


CONFIG = LlamaConfig(
    vocab_size=30,
    hidden_size=32,
    intermediate_size=48,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=1,
    num_labels=1,
    pad_token_id=0,
)


def nested() -> tuple[TokenTree, list[list[int]]]:
    """An episode, two branches of it, a branch of the first; and the paths' tokens."""
    torch.manual_seed(1)
    tokens = [torch.randint(30, (n,)).tolist() for n in (9, 4, 5, 3)]
    tree = TokenTree()
    episode = tree.add(tokens[0])
    first = tree.add(tokens[1], parent=episode, length=6)
    tree.add(tokens[2], parent=episode, length=2)
    tree.add(tokens[3], parent=first, length=8)
    whole = [
        tokens[0],
        tokens[0][:6] + tokens[1],
        tokens[0][:2] + tokens[2],
        tokens[0][:6] + tokens[1][:2] + tokens[3],
    ]
    return tree, whole


@pytest.mark.parametrize("attention", ["sdpa", "grouped"])
@pytest.mark.parametrize("kind", [LlamaForCausalLM, LlamaForSequenceClassification])
@torch.no_grad()
def test_hidden_states_are_those_of_every_path_read_for_itself(kind: type, attention: str) -> None:
    torch.manual_seed(0)
    model = kind(CONFIG).eval()
    if attention == "grouped":
        use_grouped_attention(model)
    tree, paths = nested()
    other = TokenTree()
    other.add([5, 6, 7])
    hidden = read_trees(model, [tree, other])
    assert hidden.shape[0] == 2
    assert hidden.shape[1] >= len(tree)
    assert hidden.shape[2] == 32
    for segment, path in enumerate(paths):
        alone = model.base_model(torch.tensor([path])).last_hidden_state[0]
        inherited = tree.positions[tree.index(segment, 0)]
        own = hidden[0, tree.index(segment, 0) : tree.index(segment, 0) + len(path) - inherited]
        torch.testing.assert_close(own, alone[inherited:], atol=1e-5, rtol=1e-5)
    alone = model.base_model(torch.tensor([[5, 6, 7]])).last_hidden_state[0]
    torch.testing.assert_close(hidden[1, :3], alone, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_trees_of_any_lengths_read_together_are_as_each_alone() -> None:
    torch.manual_seed(0)
    model = LlamaForCausalLM(CONFIG).eval()
    trees = []
    for length in (3, 90, 40, 33, 88, 1):
        trees.append(TokenTree())
        trees[-1].add(torch.randint(30, (length,)).tolist())
    together = read_trees(model, trees)
    for row, tree in zip(together, trees, strict=True):
        torch.testing.assert_close(row[: len(tree)], read_trees(model, [tree])[0, : len(tree)], atol=1e-5, rtol=1e-5)


@given(st.lists(st.integers(1, 500), min_size=1, max_size=40))
def test_parts_are_of_similar_length_and_hold_all(lengths: list[int]) -> None:
    parts = list(alike(lengths))
    assert sorted(i for part in parts for i in part) == list(range(len(lengths)))
    for part in parts:
        assert min(lengths[i] for i in part) >= 0.8 * lengths[part[0]] == 0.8 * max(lengths[i] for i in part)
    for longer, shorter in pairwise(parts):
        assert lengths[shorter[0]] < 0.8 * lengths[longer[0]], "no more parts than need be"


def test_gradients_are_the_sum_over_the_paths() -> None:
    torch.manual_seed(0)
    model = LlamaForCausalLM(CONFIG)
    tree, paths = nested()
    ends = [
        tree.index(segment, 0) + len(path) - 1 - tree.positions[tree.index(segment, 0)]
        for segment, path in enumerate(paths)
    ]
    read_trees(model, [tree])[0, ends].pow(2).sum().backward()
    packed = [parameter.grad for parameter in model.base_model.parameters()]
    model.zero_grad()
    for path in paths:
        model.base_model(torch.tensor([path])).last_hidden_state[0, -1].pow(2).sum().backward()
    for together, apart in zip(packed, model.base_model.parameters(), strict=True):
        torch.testing.assert_close(together, apart.grad, atol=1e-4, rtol=1e-4)
