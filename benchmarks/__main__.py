"""`python -m benchmarks [NAME ...]`: measures, prints tables, writes benchmarks/out/NAME.json. No name: all of them."""

import argparse
from importlib import import_module

from benchmarks.measure import report

NAMES = ("environment", "rollouts", "sft", "prm", "improvement", "shards", "targets", "startup")


def main() -> None:
    """Runs the benchmarks that are named."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(NAMES)}; none: all")
    names = parser.parse_args().names or NAMES
    if unknown := set(names) - set(NAMES):
        parser.error(f"expected names of {', '.join(NAMES)}, got {', '.join(sorted(unknown))}")
    for name in names:
        report(name, import_module(f"benchmarks.{name}").run())


if __name__ == "__main__":
    main()
