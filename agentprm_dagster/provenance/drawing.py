"""A lineage to look at: a tree of text, a picture."""

from pathlib import Path

from rich.text import Text
from rich.tree import Tree

from agentprm_dagster.provenance.layout import layout
from agentprm_dagster.provenance.lineage import Lineage, Node
from agentprm_dagster.provenance.manifest import Version


def text_tree(lineage: Lineage) -> Tree:
    """A tree for `rich.print`, the artifact asked about at its root; commits where they are not all the same."""
    agreed = lineage.commit() is not None
    tree = Tree(_line(lineage.root, agreed=agreed))
    _grow(tree, lineage.root, agreed=agreed)
    return tree


def draw(lineage: Lineage, path: Path) -> None:
    """Writes a picture (the format by the file's ending), from left, what was read, to right, what was made."""
    from matplotlib.figure import Figure  # half a second to import, for pictures only

    places = layout(lineage)
    width = 1 + max(x for x, _ in places.values())
    height = 1 + max(y for _, y in places.values())
    figure = Figure(figsize=(2.2 * width, 0.9 * height), layout="constrained")
    axes = figure.add_subplot(xlim=(-0.5, width - 0.5), ylim=(height - 0.5, -0.5))
    axes.axis("off")
    for read, made in lineage.edges():
        arrow = {"arrowstyle": "->", "color": "tab:gray", "shrinkA": 18, "shrinkB": 18}
        axes.annotate("", xy=places[made], xytext=places[read], arrowprops=arrow)
    for version, (x, y) in places.items():
        asked = version == lineage.root.version
        box = {"boxstyle": "round", "facecolor": "moccasin" if asked else "aliceblue", "edgecolor": "tab:gray"}
        label = f"{_title(version)}\n{version.digest[:8]}"
        axes.text(x, y, label, ha="center", va="center", fontsize=8, bbox=box)
    figure.savefig(path, dpi=150)


def _title(version: Version) -> str:
    return f"{version.experiment}/{version.asset} {version.iteration}"


def _line(node: Node, *, agreed: bool) -> Text:
    line = Text.assemble(str(node.version.partition), " ", (node.version.digest[:16], "dim"))
    other_roles = [role for role in node.roles if role != node.version.asset]
    if other_roles:
        line.append(f" as {', '.join(other_roles)}", "italic")
    if (made := node.made) is None:
        line.append(" not in the store, or unreadable", "bold red")
    else:
        if made.code.in_words and not agreed:
            line.append(f" by {made.code.in_words}", "dim")
        if made.reproducible:
            line.append(f" {made.reproducible}", "dim" if made.reproducible == "bitwise" else "yellow")
        if made.adopted:
            line.append(f" first made as {made.adopted.origin.partition}", "dim")
    if node.repeated:
        line.append(" (see above)", "dim")
    return line


def _grow(tree: Tree, node: Node, *, agreed: bool) -> None:
    for child in node.children:
        _grow(tree.add(_line(child, agreed=agreed)), child, agreed=agreed)
