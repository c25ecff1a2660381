"""Where the artifacts of a lineage stand in a picture: a row for every iteration, in it from left to right."""

from collections import defaultdict

from agentprm_dagster.provenance.lineage import Lineage
from agentprm_dagster.provenance.manifest import Version


def layout(lineage: Lineage) -> dict[Version, tuple[int, int]]:
    """A column and a row for every artifact, both from 0, no two in one place.

    What was made from something stands below it or, of the same iteration, to its right. What has no iteration of its
    own belongs to the last one that it was made from.
    """
    iterations = {version: version.iteration for version in lineage.versions()}
    columns = dict.fromkeys(iterations, 0)
    for _ in iterations:
        for read, made in lineage.edges():
            iterations[made] = max(iterations[made], iterations[read])
    for _ in iterations:
        for read, made in lineage.edges():
            if iterations[read] == iterations[made]:
                columns[made] = max(columns[made], columns[read] + 1)
    cells: dict[tuple[int, int], list[Version]] = defaultdict(list)
    for version in iterations:
        cells[iterations[version], columns[version]].append(version)
    places: dict[Version, tuple[int, int]] = {}
    top = 0
    for iteration in sorted(set(iterations.values())):
        stacks = {column: cell for (row, column), cell in cells.items() if row == iteration}
        places |= {
            version: (column, top + i) for column, cell in stacks.items() for i, version in enumerate(sorted(cell))
        }
        top += max(map(len, stacks.values()))
    return places
