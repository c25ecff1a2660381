"""A lineage as one HTML file that needs nothing else: the picture, and below it all that the manifests say."""

from collections.abc import Mapping
from html import escape

from agentprm_dagster.provenance.flat import flat
from agentprm_dagster.provenance.headline import headline
from agentprm_dagster.provenance.lineage import Lineage, Node
from agentprm_dagster.provenance.manifest import NOT_FINITE, Manifest, Version
from agentprm_dagster.provenance.picture import svg

_STYLE = (
    "body{font-family:sans-serif;margin:2em;color:#222}table{border-collapse:collapse;margin:0.4em 0}"
    "td,th{border:1px solid #ccc;padding:2px 8px;text-align:left;vertical-align:top;font-size:13px}"
    "section{border-top:1px solid #ccc;margin-top:1.5em}section:target{background:#fff8e8}"
    "code{font-size:12px}svg{max-width:100%;height:auto}"
)


def html(lineage: Lineage) -> str:
    """The page. It runs no script and loads nothing; every text in it is escaped."""
    nodes = lineage.nodes()
    links = {version: f"#{_anchor(version)}" for version in nodes}
    asked = lineage.root.version
    what = "made it" if lineage.direction == "upstream" else "was made from it"
    commit = lineage.commit()
    head = f"<p>What {what}: {len(nodes) - 1} artifacts{f', all by commit {escape(commit)}' if commit else ''}.</p>"
    sections = "".join(_section(node, links, told=commit) for node in nodes.values())
    title = escape(str(asked.partition))
    return (
        f"<!DOCTYPE html><html lang='en'><head><meta charset='utf-8'><title>Lineage of {title}</title>"
        f"<style>{_STYLE}</style></head><body><h1>{title}</h1><p><code>{asked.digest}</code></p>{head}"
        f"{svg(lineage, links)}{sections}</body></html>\n"
    )


def _anchor(version: Version) -> str:
    return f"{version.experiment}-{version.asset}-{version.iteration}-{version.digest[:16]}"


def _section(node: Node, links: dict[Version, str], told: str | None) -> str:
    version = node.version
    head = f"<section id='{_anchor(version)}'><h2>{escape(str(version.partition))}</h2>"
    if (made := node.made) is None:
        return f"{head}<p><code>{version.digest}</code> is not in the store, or cannot be read.</p></section>"
    rows = {
        "digest": f"<code>{made.digest}</code>",
        **{f"read as {each.role}": _link(each.version, links) for each in made.inputs},
        **{name: f"{value:.4g}" for name, value in headline(made.metrics).items()},
        "made": f"{escape(made.started)}, in {made.seconds:,.1f} seconds",
        **({} if told else {"commit": escape(made.code.in_words or "outside a checkout")}),
        "reproducible": escape(made.reproducible or "not recorded"),
        "machine": escape(_machine(made)),
        "kept in": f"<code>{escape(node.artifact.uri if node.artifact else '')}</code>",
        "Dagster run, MLflow run": f"{escape(made.dagster_run_id or 'none')}, {escape(made.mlflow_run_id or 'none')}",
    }
    if made.adopted:
        rows["first made as"] = escape(str(made.adopted.origin))
    metrics = {name: NOT_FINITE if value is None else f"{value:.6g}" for name, value in made.metrics.items()}
    return (
        f"{head}{_table(rows)}<details><summary>settings, seeds, environment, all metrics</summary>"
        f"{''.join(_plain(part) for part in (made.config, made.seeds, made.environment, metrics))}</details></section>"
    )


def _machine(made: Manifest) -> str:
    """What it was computed on."""
    names = ("processor", "products", "gpu")
    return ", ".join(f"{name} {made.environment[name]}" for name in names if name in made.environment)


def _link(version: Version, links: dict[Version, str]) -> str:
    name = f"{escape(str(version.partition))} <code>{version.digest[:16]}</code>"
    return f"<a href='{links[version]}'>{name}</a>" if version in links else name


def _plain(values: Mapping[str, object]) -> str:
    return _table({name: escape(value) for name, value in flat(values).items()})


def _table(rows: dict[str, str]) -> str:
    """Of cells that are escaped already, by names that are not."""
    cells = "".join(f"<tr><th>{escape(name)}</th><td>{cell}</td></tr>" for name, cell in rows.items())
    return f"<table>{cells}</table>"
