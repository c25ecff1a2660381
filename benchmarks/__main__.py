"""`python -m benchmarks [NAME ...]`: measures, prints tables, writes benchmarks/out/NAME-PRODUCTS.json.

No name: all of them. Where products of small models are in bfloat16, what trains is measured again with products in
float32, as a processor without instructions for bfloat16 computes them.
"""

import argparse
import subprocess
import sys
from importlib import import_module
from os import environ

from agentprm_dagster.processor import VARIABLE, product_type
from benchmarks.measure import report

NAMES = ("environment", "rollouts", "sft", "prm", "improvement", "shards", "targets", "startup")
TRAINING = {"sft", "prm", "improvement", "shards", "prm_loss"}
"""Those whose speed depends on the type of products."""
LONG = ("prm_loss", "engines", "served")
"""Those that take too long to be run with the others, or need an extra."""


def main() -> None:
    """Runs the benchmarks that are named."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    known = (*NAMES, *LONG)
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help=f"of {', '.join(known)}; none: all but {' and '.join(LONG)}"
    )
    names = parser.parse_args().names or NAMES
    if unknown := set(names) - set(known):
        parser.error(f"expected names of {', '.join(known)}, got {', '.join(sorted(unknown))}")
    for name in names:
        report(name, import_module(f"benchmarks.{name}").run())
    again = [name for name in names if name in TRAINING]
    if again and product_type() == "bfloat16":
        subprocess.run([sys.executable, "-m", "benchmarks", *again], env={**environ, VARIABLE: "float32"}, check=True)


if __name__ == "__main__":
    main()
