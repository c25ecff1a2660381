"""A few steps of writers beside `verify`; `make torture` runs many."""

from pathlib import Path

from races import race


def test_verify_finds_no_fault_while_others_write_and_are_killed(tmp_path: Path) -> None:
    assert race(tmp_path / "store", seed=0, steps=15) > 0
