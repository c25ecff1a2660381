"""How a page of episodes looks, on a bright screen and on a dark one, wide and narrow."""

STYLE = """
:root { --ink: #1c2126; --soft: #5f6b76; --line: #d9dee3; --paper: #ffffff; --card: #f6f8fa;
  --q: #1f6feb; --after: #c2700f; --won: #1a7f37; --lost: #c0343d; color-scheme: light dark; }
@media (prefers-color-scheme: dark) { :root { --ink: #e4e8ec; --soft: #98a4b0; --line: #343b43; --paper: #14181c;
  --card: #1c2127; --q: #6ea8ff; --after: #f0a94b; --won: #56c271; --lost: #ff7b82; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 62rem; padding: 1.5rem 1rem 4rem; background: var(--paper); color: var(--ink);
  font: 15px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.6rem; margin: 0 0 .5rem; }
h2 { font-size: 1.15rem; margin: 2.2rem 0 .2rem; }
p { margin: .2rem 0; }
section > p, .legend, .facts, .id { color: var(--soft); }
section > p { margin-bottom: .7rem; }
.text { white-space: pre-wrap; overflow-wrap: anywhere; }
.episode { border: 1px solid var(--line); border-left-width: 4px; border-radius: 6px; margin: .5rem 0;
  background: var(--card); }
.episode.won { border-left-color: var(--won); }
.episode.lost { border-left-color: var(--lost); }
summary { cursor: pointer; padding: .55rem .8rem; display: flex; flex-wrap: wrap; gap: .1rem .8rem; }
summary::before { content: "\\25B8"; color: var(--soft); width: .8rem; }
[open] > summary::before { content: "\\25BE"; }
.won .outcome { color: var(--won); }
.lost .outcome { color: var(--lost); }
.outcome { font-weight: 650; width: 2.6rem; }
.task { font-weight: 550; flex: 1 1 18rem; }
.facts { font-variant-numeric: tabular-nums; }
.id, .first { padding: 0 .8rem .6rem; overflow-wrap: anywhere; }
.id { font-size: .85rem; }
.curve { display: block; width: 100%; max-width: 44rem; padding: 0 .8rem; margin-bottom: .6rem; }
.curve text { font-size: 11px; fill: var(--soft); text-anchor: end; }
.curve text.q, .curve text.after { font-weight: 600; text-anchor: start; }
.curve text.q { fill: var(--q); }
.curve text.after { fill: var(--after); }
.curve .grid { stroke: var(--line); }
.curve polyline { fill: none; stroke-width: 2; }
.curve polyline.q { stroke: var(--q); }
.curve polyline.after { stroke: var(--after); stroke-dasharray: 4 4; }
.curve circle.q { fill: var(--q); }
.curve circle.after { fill: var(--after); }
.turns { list-style: none; margin: 0; padding: 0; }
.turn { display: grid; grid-template-columns: 2.2rem 1fr 11rem; gap: .8rem; padding: .55rem .8rem;
  border-top: 1px solid var(--line); }
.turn > .number, .values { margin-top: .2rem; }
.turn > .number { color: var(--soft); text-align: right; font-variant-numeric: tabular-nums; }
.inherited { opacity: .65; }
.left_out { padding: .55rem .8rem; border-top: 1px solid var(--line); color: var(--soft); text-align: center; }
.reason { color: var(--soft); font-style: italic; overflow-wrap: anywhere; }
.action { font-family: ui-monospace, monospace; font-weight: 600; }
.flag { margin-left: .6rem; padding: 0 .4rem; border: 1px solid currentColor; border-radius: 4px; color: var(--lost);
  font: .8rem system-ui, sans-serif; }
.inherited .flag { color: var(--soft); }
.values { display: grid; grid-template-columns: 3.4rem 1fr; gap: .2rem .5rem; align-content: start; align-items: center;
  font-variant-numeric: tabular-nums; }
.bar { height: .55rem; background: var(--line); border-radius: 3px; overflow: hidden; }
.bar span { display: block; height: 100%; }
.bar .q { background: var(--q); }
.bar .after { background: var(--after); }
@media (max-width: 40rem) { .turn { grid-template-columns: 1.6rem 1fr; } .values { grid-column: 2; } }
"""
