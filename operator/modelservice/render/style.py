"""The style sheet of the cost page."""

STYLE = """
:root {
  --page: #f4f5f7; --card: #ffffff; --ink: #1b1e23; --quiet: #5a616b; --line: #dfe2e7;
  --spent: #2b62c4; --held: #e0912a; --left: #e4e7ec; --mark: #1b1e23; --over: #c2362f;
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #14161a; --card: #1d2025; --ink: #e9ebee; --quiet: #a2a9b3; --line: #363b43;
    --spent: #74a3ff; --held: #f2b35a; --left: #383e47; --mark: #e9ebee; --over: #ff8078;
  }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink); font: 16px/1.5 system-ui, sans-serif; }
main { max-width: 960px; margin: 0 auto; padding: 32px 20px 48px; }
h1 { margin: 0; font-size: 28px; line-height: 1.25; }
h2 { margin: 0; font-size: 20px; overflow-wrap: anywhere; }
h3 { margin: 28px 0 8px; font-size: 16px; }
p { margin: 4px 0; }
.quiet { color: var(--quiet); font-size: 14px; }
.summary { margin: 12px 0 16px; max-width: 70ch; }
section { margin-top: 24px; padding: 24px; background: var(--card); border: 1px solid var(--line);
  border-radius: 10px; }
footer { margin-top: 24px; }
svg { display: block; width: 100%; height: auto; }
svg text { fill: var(--quiet); font: 12px system-ui, sans-serif; font-variant-numeric: tabular-nums; }
svg .spent { fill: var(--spent); }
svg .unfinished { fill-opacity: 0.5; }
svg .held { fill: var(--held); }
svg .left { fill: var(--left); }
svg .grid { stroke: var(--line); }
svg .axis { stroke: var(--quiet); }
svg .mark { stroke: var(--mark); stroke-width: 2; }
svg .over { stroke: var(--over); stroke-width: 2; }
svg .now { stroke: var(--quiet); stroke-dasharray: 2 3; }
svg .pace { stroke: var(--quiet); stroke-width: 1.5; stroke-dasharray: 8 5; }
svg .known { stroke: var(--spent); stroke-width: 2; stroke-opacity: 0.55; }
svg .ahead { stroke: var(--spent); stroke-width: 2; stroke-dasharray: 3 4; }
svg .band { fill: var(--spent); fill-opacity: 0.22; }
svg .heldline { stroke: var(--held); stroke-width: 6; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(140px, 1fr)); gap: 12px; margin: 12px 0 16px; }
.tiles > div { padding: 10px 12px; border: 1px solid var(--line); border-radius: 8px; }
.tiles dt { color: var(--quiet); font-size: 14px; }
.tiles dd { margin: 0; font-variant-numeric: tabular-nums; }
.tiles strong { font-size: 19px; }
.legend { display: flex; flex-wrap: wrap; gap: 4px 20px; margin: 8px 0 0; padding: 0; list-style: none; font-size: 14px;
  color: var(--quiet); }
.key { display: inline-block; width: 18px; height: 10px; margin-right: 7px; border-radius: 2px; }
.key.spent { background: var(--spent); }
.key.unfinished { opacity: 0.5; }
.key.held { background: var(--held); }
.key.band { background: var(--spent); opacity: 0.35; }
.key.left { background: var(--left); }
.key.mark, .key.over, .key.known, .key.ahead, .key.pace { height: 0; vertical-align: middle;
  border-top: 2px solid var(--mark); }
.key.over { border-color: var(--over); }
.key.known { border-color: var(--spent); opacity: 0.55; }
.key.ahead { border-top: 2px dotted var(--spent); border-radius: 0; }
.key.pace { border-top: 2px dashed var(--quiet); border-radius: 0; }
table { width: 100%; border-collapse: collapse; font-size: 14px; }
th, td { padding: 6px 8px; text-align: left; font-weight: 400; border-bottom: 1px solid var(--line); }
thead th { color: var(--quiet); }
tbody th { overflow-wrap: anywhere; }
.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
tfoot th, tfoot td { font-weight: 600; border-bottom: 0; }
.bar { width: 26%; }
.meter { height: 10px; min-width: 1px; background: var(--spent); border-radius: 2px; }
.wide { overflow-x: auto; }
.pair { display: grid; grid-template-columns: repeat(auto-fit, minmax(380px, 1fr)); gap: 0 28px; }
.pair .bar { display: none; }
@media (max-width: 640px) {
  section { padding: 16px; }
  .bar { display: none; }
  .pair { grid-template-columns: 1fr; }
}
@media print { body { background: none; } section { break-inside: avoid; border: 0; padding: 8px 0; } }
"""
