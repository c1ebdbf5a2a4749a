"""How pages look: on a screen by day and by night, on paper, and in a cell of a notebook."""

from __future__ import annotations

__all__ = ["PAGE_STYLE"]

PAGE_STYLE = """
.pyflow.report {
  --ink: #1c2430; --soft: #566273; --paper: #ffffff; --panel: #f6f8fb; --line: #dde3ea;
  --good: #1a7f37; --bad: #b3261e; --back: #6c449a; --doubt: #8a5a00; --busy: #0860c4; --off: #5f6b78;
  --wash-bad: #fff0ee; --wash-doubt: #fff8e1; --wash-good: #eefaf1;
  color: var(--ink); background: var(--paper);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", sans-serif;
}
body.pyflow.report { margin: 0; }
.pyflow.report .sheet { max-width: 76rem; margin: 0 auto; padding: 1.75rem 1.5rem 3rem; }
.pyflow.report.cell { padding: .75rem 1rem; border: 1px solid var(--line); border-radius: 6px; }
.pyflow.report h1 { font-size: 1.7rem; line-height: 1.25; margin: 0 0 .25rem; overflow-wrap: anywhere; }
.pyflow.report h2 { font-size: 1.15rem; margin: 2.25rem 0 .6rem; padding-top: .9rem; border-top: 1px solid var(--line); }
.pyflow.report h3 { font-size: .95rem; margin: 0; overflow-wrap: anywhere; }
.pyflow.report.cell h1 { font-size: 1.15rem; }
.pyflow.report.cell h2 { font-size: .95rem; margin: 1rem 0 .4rem; padding-top: .6rem; }
.pyflow.report p { margin: .35rem 0; overflow-wrap: anywhere; }
.pyflow.report .soft { color: var(--soft); }
.pyflow.report a { color: var(--busy); }
.pyflow.report code, .pyflow.report pre, .pyflow.report .mono {
  font-family: ui-monospace, "DejaVu Sans Mono", Menlo, Consolas, monospace; font-size: .86em;
}
.pyflow.report pre {
  margin: .5rem 0 0; padding: .7rem .8rem; overflow-x: auto; line-height: 1.4; color: var(--ink);
  background: var(--panel); border: 1px solid var(--line); border-radius: 5px;
}
.pyflow.report .badge {
  display: inline-block; padding: .05rem .55rem; border: 1px solid currentColor; border-radius: 999px;
  font-size: .8rem; font-weight: 600; line-height: 1.5; white-space: nowrap;
}
.pyflow.report h1 .badge { font-size: 1rem; margin-left: .4rem; vertical-align: .12em; }
.pyflow.report .badge.good { color: var(--good); }
.pyflow.report .badge.bad { color: var(--bad); }
.pyflow.report .badge.back { color: var(--back); }
.pyflow.report .badge.doubt { color: var(--doubt); }
.pyflow.report .badge.busy { color: var(--busy); }
.pyflow.report .badge.off { color: var(--off); }
.pyflow.report dl.facts {
  display: grid; grid-template-columns: repeat(auto-fit, minmax(15rem, 1fr)); gap: .7rem 1.5rem; margin: 1.1rem 0 0;
}
.pyflow.report dl.facts div { min-width: 0; }
.pyflow.report dt { color: var(--soft); font-size: .8rem; }
.pyflow.report dd { margin: 0; overflow-wrap: anywhere; }
.pyflow.report .card {
  margin: .7rem 0; padding: .7rem .95rem; border: 1px solid var(--line); border-left-width: 4px; border-radius: 5px;
}
.pyflow.report .card.bad { border-left-color: var(--bad); background: var(--wash-bad); }
.pyflow.report .card.doubt { border-left-color: var(--doubt); background: var(--wash-doubt); }
.pyflow.report .card.good { border-left-color: var(--good); background: var(--wash-good); }
.pyflow.report .card ul { margin: .35rem 0; padding-left: 1.2rem; }
.pyflow.report .wide { overflow-x: auto; }
.pyflow.report .picture { overflow: auto; max-height: 85vh; border: 1px solid var(--line); border-radius: 5px; }
.pyflow.report .picture svg { display: block; }
.pyflow.report table { border-collapse: collapse; width: 100%; font-size: .88rem; margin: 0; color: var(--ink); background: none; }
.pyflow.report th, .pyflow.report td {
  padding: .32rem .7rem .32rem 0; border-bottom: 1px solid var(--line); text-align: left; vertical-align: top;
  overflow-wrap: break-word; background: none;
}
.pyflow.report td:last-child, .pyflow.report td code { overflow-wrap: anywhere; }
.pyflow.report td:first-child code { overflow-wrap: break-word; }
.pyflow.report .records td { white-space: nowrap; }
.pyflow.report .records td:nth-child(5) { white-space: normal; overflow-wrap: anywhere; min-width: 14rem; }
.pyflow.report th { color: var(--soft); font-weight: 600; white-space: nowrap; }
.pyflow.report time { font-variant-numeric: tabular-nums; white-space: nowrap; }
.pyflow.report .hash { white-space: nowrap; color: var(--soft); }
.pyflow.report footer { margin-top: 2rem; color: var(--soft); font-size: .85rem; }
.pyflow.report .bar { display: flex; height: .6rem; margin: .6rem 0; border-radius: 999px; overflow: hidden; background: var(--line); }
@media screen and (prefers-color-scheme: dark) {
  .pyflow.report {
    --ink: #e6ebf2; --soft: #9fb0c3; --paper: #14181f; --panel: #1b212b; --line: #2e3846;
    --good: #5cc27c; --bad: #f2837b; --back: #b99ae0; --doubt: #dcb13f; --busy: #6cb2ff; --off: #98a5b5;
    --wash-bad: #2a1a1b; --wash-doubt: #292313; --wash-good: #13261a;
  }
}
@media print {
  .pyflow.report { font-size: 11px; }
  .pyflow.report .sheet { max-width: none; padding: 0; }
  .pyflow.report .picture { max-height: none; overflow: visible; border: 0; }
  .pyflow.report .picture svg { max-width: 100%; height: auto; }
  .pyflow.report pre { white-space: pre-wrap; overflow-wrap: anywhere; }
  .pyflow.report .wide { overflow: visible; }
  .pyflow.report h2, .pyflow.report h3 { break-after: avoid; }
  .pyflow.report .card, .pyflow.report tr { break-inside: avoid; }
}
""".strip()
"""Everything is under `.pyflow.report`, so a report in somebody else's page changes nothing there."""
