"""`python -m benchmarks [NAME ...]`: measures, prints tables, writes benchmarks/out/NAME.json. No name: all of them."""

import argparse
from importlib import import_module

from benchmarks.measure import report

NAMES = ("environment", "rollouts", "sft", "prm", "improvement", "shards", "targets", "startup")
LONG = ("prm_loss",)
"""Those that take too long to be run with the others."""


def main() -> None:
    """Runs the benchmarks that are named."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    known = (*NAMES, *LONG)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(known)}; none: all but the last")
    names = parser.parse_args().names or NAMES
    if unknown := set(names) - set(known):
        parser.error(f"expected names of {', '.join(known)}, got {', '.join(sorted(unknown))}")
    for name in names:
        report(name, import_module(f"benchmarks.{name}").run())


if __name__ == "__main__":
    main()
