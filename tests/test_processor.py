"""The type of a small model's products: measured once, remembered, or chosen."""

import os
from pathlib import Path

import pytest

from agentprm_dagster import processor
from agentprm_dagster.processor import VARIABLE, ProcessorError, product_type


@pytest.fixture(autouse=True)
def unknown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine where nothing was measured yet; the folder of its cache."""
    # Set before it is deleted: measuring sets it, and it must be as it was afterwards.
    monkeypatch.setenv(VARIABLE, "")
    monkeypatch.delenv(VARIABLE)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    product_type.cache_clear()
    return tmp_path / "agentprm_dagster" / "products.json"


@pytest.mark.parametrize("chosen", ["float32", "bfloat16"])
def test_it_can_be_chosen(chosen: str, unknown: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, chosen)
    assert product_type() == chosen
    assert not unknown.exists(), "what is chosen says nothing of the machine"


def test_an_unknown_type_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "float16")
    with pytest.raises(ProcessorError, match=r"expected float32 or bfloat16, got 'float16'"):
        product_type()


def test_it_is_measured_once_a_machine(unknown: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processor, "_faster", lambda: "bfloat16")
    assert product_type() == "bfloat16"
    product_type.cache_clear()
    monkeypatch.delenv(VARIABLE)
    monkeypatch.setattr(processor, "_faster", lambda: pytest.fail("it was measured already"))
    assert product_type() == "bfloat16"
    product_type.cache_clear()
    monkeypatch.setattr(processor, "_machine", lambda: "another")
    monkeypatch.setattr(processor, "_faster", lambda: "float32")
    assert product_type() == "float32"


@pytest.mark.parametrize("damage", ["", "[]", '{"x": 1}', "no JSON"])
def test_a_damaged_record_is_measured_again(damage: str, unknown: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    unknown.parent.mkdir()
    unknown.write_text(damage)
    monkeypatch.setattr(processor, "_faster", lambda: "float32")
    assert product_type() == "float32"


def test_where_nothing_can_be_written_children_are_told(unknown: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    unknown.parent.write_text("a file where the folder would be")
    monkeypatch.setattr(processor, "_faster", lambda: "bfloat16")
    assert product_type() == "bfloat16"
    assert os.environ[VARIABLE] == "bfloat16"


@pytest.mark.parametrize(
    ("wide", "narrow", "faster"), [(4.0, 1.0, "bfloat16"), (1.1, 1.0, "float32"), (1.0, 9.0, "float32")]
)
def test_bfloat16_has_to_be_worth_it(wide: float, narrow: float, faster: str, monkeypatch: pytest.MonkeyPatch) -> None:
    moments = iter([0.0, wide, 0.0, narrow] * 100)
    monkeypatch.setattr(processor, "perf_counter", lambda: next(moments))
    assert processor._faster() == faster


def test_this_processor_has_a_name() -> None:
    assert processor.processor()


@pytest.mark.parametrize(
    ("flags", "name"),
    [("avx512f", "X"), ("avx512_bf16 avx512f", "X with AVX512-BF16"), ("avx512_bf16 amx_bf16", "X with AMX")],
)
def test_what_multiplies_bfloat16_is_named(flags: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processor, "_described", lambda: {"model name": "X", "flags": flags})
    assert processor.processor() == name
