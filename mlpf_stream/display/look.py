"""How the page looks and what its switches do."""

from typing import Final

STYLE: Final = """
:root { color-scheme: light; --ink: #1a1c20; --soft: #565b69; --line: #d9dce3; --tint: #f3f5f9; }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 0 1rem 1rem; max-width: 100rem; color: var(--ink);
  background: #fff;
  font: 1rem/1.45 system-ui, -apple-system, "Segoe UI", Roboto, Helvetica, Arial, sans-serif; }
h1 { font-size: 1.35rem; line-height: 1.25; margin: .9rem 0 .3rem; overflow-wrap: anywhere; }
p { margin: .3rem 0; max-width: 60rem; }
.facts { display: flex; flex-wrap: wrap; gap: .3rem 1.6rem; margin: .6rem 0; }
.facts dt { color: var(--soft); font-size: .8rem; }
.facts dd { margin: 0; font-variant-numeric: tabular-nums; overflow-wrap: anywhere; }
.controls { display: flex; flex-wrap: wrap; gap: .4rem 1.4rem; padding: .5rem 0;
  border-top: 1px solid var(--line); }
fieldset { border: 0; margin: 0; padding: 0; min-width: 0; font-size: .92rem; }
legend { color: var(--soft); font-size: .8rem; padding: 0; }
label { display: inline-block; margin-right: .8rem; white-space: nowrap; }
input { accent-color: #1f5fa8; vertical-align: -1px; }
.swatch { display: inline-block; width: .8em; height: .8em; margin-right: .3em;
  border-radius: 2px; }
[data-colour="particle"] .swatch { display: none; }
button { font: inherit; color: inherit; background: var(--tint); border: 1px solid var(--line);
  border-radius: .3rem; padding: .05rem .6rem; margin-right: .4rem; cursor: pointer; }
.scenes { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 26rem), 1fr));
  gap: .8rem; }
figure { margin: 0; min-width: 0; }
.scene { height: min(68vh, 44rem); min-height: 18rem; border: 1px solid var(--line);
  border-radius: 4px; overflow: hidden; }
figcaption { color: var(--soft); font-size: .88rem; margin-top: .25rem; max-width: 50rem; }
details { margin-top: 1rem; } summary { cursor: pointer; }
.scroll { overflow-x: auto; margin: .6rem 0; }
table { border-collapse: collapse; font-size: .9rem; font-variant-numeric: tabular-nums; }
th, td { padding: .25rem .6rem; text-align: left; border-bottom: 1px solid var(--line);
  white-space: nowrap; }
footer { margin-top: 1.5rem; color: var(--soft); font-size: .85rem; }
@media (max-width: 40rem) { body { padding: 0 .6rem .6rem; } h1 { font-size: 1.1rem; }
  .scene { height: 60vw; min-height: 20rem; } .facts { gap: .2rem 1rem; } }
"""

SCRIPT: Final = """
"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const scenes = Object.entries(data.figures).map(
    ([name, figure]) => ({ place: document.getElementById(name), figure }));
  const config = { responsive: true, displaylogo: false, scrollZoom: true,
    modeBarButtons: [["toImage", "orbitRotation", "pan3d", "zoom3d", "resetCameraDefault3d"]] };
  const chosen = (name) => new Set([...document.querySelectorAll(`[data-${name}]`)]
    .filter((box) => box.checked).map((box) => box.dataset[name]));
  const drawn = (trace) => trace.mode === "lines" ? trace.line : trace.marker;
  for (const scene of scenes) {
    scene.numbers = scene.figure.data.map((trace) => drawn(trace).color);
    scene.figure.data.forEach((trace, number) => {
      trace.text = scene.figure.words[number].flatMap(([words, count]) => Array(count).fill(words));
    });
  }
  const apply = () => {
    const sources = chosen("source"), species = chosen("species");
    const colour = document.querySelector("[name=colour]:checked").value;
    document.body.dataset.colour = colour;
    return Promise.all(scenes.map(({ place, figure, numbers }) => {
      figure.data.forEach((trace, number) => {
        const meta = trace.meta;
        if (meta.source === "outline") return;
        trace.visible = sources.has(meta.source) && species.has(meta.species);
        drawn(trace).color = colour === "particle" ? numbers[number] : data.colours[meta.species];
      });
      const layout = place.layout || figure.layout;
      layout.datarevision = (layout.datarevision || 0) + 1;
      return Plotly.react(place, figure.data, layout, config);
    }));
  };
  const look = (camera, but) => scenes.filter(({ place }) => place !== but).map(({ place }) =>
    Plotly.relayout(place, { "scene.camera": camera }));
  let turning = false;
  const follow = (place) => (change) => {
    const camera = change["scene.camera"];
    if (!camera || turning) return;
    turning = true;
    requestAnimationFrame(() => Promise.all(look(camera, place)).then(() => { turning = false; }));
  };
  apply().then(() => {
    for (const { place } of scenes) {
      place.on("plotly_relayouting", follow(place));
      place.on("plotly_relayout", follow(place));
    }
    document.querySelector(".controls").addEventListener("change", apply);
    for (const button of document.querySelectorAll("[data-view]")) {
      button.addEventListener("click", () => look(
        { eye: data.views[button.dataset.view], up: { x: 0, y: 1, z: 0 },
          center: { x: 0, y: 0, z: 0 } }));
    }
    document.body.dataset.ready = "yes";
  });
})();
"""
