"""What a GPU computes of this project, beside the CPU, and how fast: `python -m benchmarks.gpu_check`.

    python -m benchmarks.gpu_check [--device cuda|cpu] [--size 3b|100m|tiny] [--out FOLDER] [--parts ABCDEFG]
                                   [--seconds 480] [--peak TFLOPS]

Runs from the repository's root with torch, transformers and pydantic, and what these need themselves; nothing is
installed, downloaded or trained for good. Models have random weights. Parts:

    A to D  the GPU's numbers beside the CPU's, in float32: log-probabilities and PRM values; gradients of SFT and of
            the PRM; of Online DPO; answers drawn by seeds
    G       attention's kernels, the optimizer's, and where a step waits for the card
    F       training: tokens a second, share of the card's peak, memory
    E       answering: decisions and tokens a second, memory

A line is printed as each is measured; OUT/gpu_check.json holds all of them, with the whole traceback of what failed.
The exit status is 1 where anything failed or is not as it should be.
"""

import argparse
import faulthandler
import sys
from collections.abc import Iterator
from pathlib import Path

import torch
import transformers

from benchmarks.gpu_check import agreement, decoding, kernels, training
from benchmarks.gpu_check.card import Card
from benchmarks.gpu_check.check import Check, Measurement, table_of
from benchmarks.gpu_check.shapes import SIZES, SizeName

ORDER = "ABCDGFE"


def main() -> int:
    """Measures what is asked for; the exit status."""
    given = _arguments()
    faulthandler.dump_traceback_later(given.seconds + 60, exit=True)  # a card that hangs is not waited for
    torch.set_float32_matmul_precision("highest")  # without TF32, as trainings are
    card = Card.of(given.device, given.peak)
    given.out.mkdir(parents=True, exist_ok=True)
    about = {
        "device": card.name,
        "peak_tflops": card.peak,
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "size": given.size,
    }
    print(", ".join(f"{name} {value}" for name, value in about.items()), flush=True)
    if card.is_gpu and card.peak is None:
        print("The peak of this card is not known: give --peak, in 10^12 operations a second of dense bfloat16.")
    check = Check(card, given.seconds, given.out / "gpu_check.json", about)
    for each in _measurements(given.parts, given.size, card):
        check.run(each)
    print("", table_of(check.rows), "", training.goal(check.rows), f"Written to {check.file}.", sep="\n")
    faulthandler.cancel_dump_traceback_later()
    return int(check.failed)


def _measurements(parts: str, name: SizeName, card: Card) -> Iterator[Measurement]:
    size = SIZES[name]
    made = {
        "G": lambda: kernels.measurements(size, card),
        "F": lambda: training.measurements([SIZES["100m"], size] if name == "3b" else [size], card),
        "E": lambda: decoding.measurements(size, card),
    }
    yield from (each for each in agreement.measurements(card) if each.part in parts)
    for part in ORDER:
        if part in made and part in parts:
            yield from made[part]()


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.gpu_check", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--size", choices=tuple(SIZES), help="of the models of E, F and G; 3b, on a CPU tiny")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/out"))
    parser.add_argument("--parts", default=ORDER, help="letters of those that are run")
    parser.add_argument("--seconds", type=float, default=480, help="what would begin later is left out")
    parser.add_argument("--peak", type=float, help="of a card that is not known, in TFLOP/s of dense bfloat16")
    given = parser.parse_args()
    if unknown := set(given.parts) - set(ORDER):
        parser.error(f"expected letters of {ORDER} for --parts, got {', '.join(sorted(unknown))}")
    if given.device == "cuda" and not torch.cuda.is_available():
        parser.error("expected a GPU that torch sees, got none: check its driver, or give --device cpu")
    given.size = given.size or ("3b" if given.device == "cuda" else "tiny")
    return given


if __name__ == "__main__":
    sys.exit(main())
