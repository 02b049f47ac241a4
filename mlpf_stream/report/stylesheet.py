"""How the page looks: wide and narrow screens, light and dark ones, and paper."""

from typing import Final

STYLE: Final = """
:root { color-scheme: light dark; --page: #fff; --ink: #1a1c20; --soft: #565b69;
  --line: #d9dce3; --tint: #f3f5f9; --link: #1f5fa8; --bar: #3f90da; --warn: #fff4d6; }
@media (prefers-color-scheme: dark) { :root { --page: #15171c; --ink: #e7e9ee; --soft: #a9afbd;
  --line: #363b47; --tint: #20242c; --link: #86bdf3; --bar: #3f90da; --warn: #463a17; } }
* { box-sizing: border-box; }
@media (prefers-reduced-motion: no-preference) { html { scroll-behavior: smooth; } }
body { margin: 0 auto; padding: 0 1.2rem 1.2rem; max-width: 74rem; color: var(--ink);
  background: var(--page);
  font: 1rem/1.5 system-ui, -apple-system, "Segoe UI", Roboto, Helvetica, Arial, sans-serif; }
header { padding-top: 1.4rem; }
h1 { font-size: 1.7rem; line-height: 1.2; margin: 0 0 .6rem; }
h2 { font-size: 1.3rem; margin: 2.6rem 0 .8rem; padding-bottom: .2rem;
  border-bottom: 1px solid var(--line); }
h3 { font-size: 1.05rem; margin: 1.6rem 0 .5rem; }
h2, h3 { scroll-margin-top: 3.4rem; overflow-wrap: anywhere; }
p, li { max-width: 50rem; overflow-wrap: anywhere; }
p { margin: .5rem 0; }
ul { margin: .6rem 0; padding-left: 1.2rem; }
.summary { margin: 1.2rem 0; }
a { color: var(--link); }
nav { position: sticky; top: 0; z-index: 2; margin: .6rem -1.2rem 0; padding: .45rem 1.2rem;
  background: var(--page); border-bottom: 1px solid var(--line); }
nav ul { display: flex; flex-wrap: wrap; gap: .1rem 1.3rem; list-style: none; margin: 0;
  padding: 0; font-size: .95rem; }
nav a { display: inline-block; padding: .15rem 0; text-decoration: none; }
nav a:hover, nav a:focus { text-decoration: underline; }
.note { color: var(--soft); font-size: .9rem; }
.warning { background: var(--warn); border-left: 4px solid #ffa90e; padding: .5rem .8rem; }
.label { display: inline-block; background: var(--tint); border: 1px solid var(--line);
  border-radius: 1rem; padding: .05rem .8rem; margin-right: .4rem; font-size: .9rem; }
.scroll { overflow-x: auto; margin: .8rem 0; max-width: 100%; }
table { border-collapse: collapse; font-size: .93rem; font-variant-numeric: tabular-nums; }
th, td { padding: .32rem .6rem; text-align: left; vertical-align: top;
  border-bottom: 1px solid var(--line); }
thead th { border-bottom: 2px solid var(--line); vertical-align: bottom; line-height: 1.3; }
tbody th { font-weight: normal; white-space: nowrap; }
td.number { text-align: right; white-space: nowrap; }
.facts td { overflow-wrap: anywhere; }
.facts th { color: var(--soft); }
.aligned td { overflow-wrap: anywhere; min-width: 9rem; }
.results td, .results thead th { text-align: right; white-space: nowrap; }
.results thead th:first-child, .results tbody th { text-align: left; white-space: nowrap;
  position: sticky; left: 0; background: var(--page); }
.results .process th { font-weight: 600; background: var(--tint); padding-top: .5rem; }
.results .target, .results .target th { color: var(--soft); }
small { color: var(--soft); font-size: .85em; }
td.best { font-weight: 700; }
.differs td { background: var(--tint); }
.figures { display: grid; gap: 1.2rem 1.6rem; align-items: start;
  grid-template-columns: repeat(auto-fill, minmax(min(100%, 26rem), 1fr)); }
.figures.small { grid-template-columns: repeat(auto-fill, minmax(min(100%, 21rem), 1fr)); }
.tables { display: flex; flex-wrap: wrap; gap: 0 2.6rem; align-items: start; }
figure { margin: 0; min-width: 0; }
figure svg { display: block; width: 100%; height: auto; background: #fff; border-radius: 4px; }
figure svg * { stroke-linejoin: round; stroke-linecap: butt; }
figcaption { color: var(--soft); font-size: .88rem; line-height: 1.4; margin-top: .2rem; }
.bar { display: inline-block; height: .7em; margin-right: .4em; background: var(--bar); }
code, pre { font-family: ui-monospace, Menlo, Consolas, "DejaVu Sans Mono", monospace;
  font-size: .86rem; }
code { overflow-wrap: anywhere; }
pre { background: var(--tint); border: 1px solid var(--line); padding: .7rem; margin: .8rem 0;
  white-space: pre-wrap; overflow-wrap: anywhere; }
summary { cursor: pointer; }
footer { margin-top: 2.5rem; color: var(--soft); font-size: .88rem; }
@media (max-width: 40rem) {
  body { padding: 0 .75rem .75rem; } h1 { font-size: 1.4rem; }
  nav { position: static; margin: .6rem -.75rem 0; padding: .45rem .75rem; }
  h2, h3 { scroll-margin-top: .5rem; }
  th, td { padding: .32rem .5rem; } .facts th { white-space: normal; }
  .aligned td { min-width: 6.2rem; }
  .aligned tbody th { white-space: normal; min-width: 6rem; } }
@media print {
  :root { color-scheme: light; --page: #fff; --ink: #000; --soft: #444; --line: #bbb;
    --tint: #f3f5f9; --link: #000; --warn: #fff4d6; }
  @page { margin: 14mm; }
  body { max-width: none; padding: 0; font-size: 10pt; }
  nav { display: none; }
  .scroll { overflow: visible; } table { font-size: 8pt; } th, td { padding: .2rem .35rem; }
  .results { font-size: 7pt; } .results th, .results td { padding: .15rem .25rem; }
  .results tbody th { white-space: normal; }
  .results thead th:first-child, .results tbody th { position: static; }
  .note, figcaption { font-size: 8.5pt; }
  .figures, .figures.small { grid-template-columns: 1fr 1fr; gap: .6rem 1rem; }
  figure, tr, .warning { break-inside: avoid; } h2, h3 { break-after: avoid; }
  td.best, .bar, .process th { print-color-adjust: exact; -webkit-print-color-adjust: exact; } }
"""
