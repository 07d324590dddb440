// Puts the page together.
function readout(at) {
  const place = $("readout");
  if (at === null) { place.replaceChildren(el("span", {}, "move over a chart for a moment · click pins it · drag zooms · double click shows the whole run · ← → + − keys")); return; }
  const bin = binAt(at);
  const active = DATA.lanes.filter((group) => ["faults", "down", "ejected", "breakers", "cut off"].includes(group.name))
    .flatMap((group) => group.rows.filter((row) => covers(row.bars, at)).map((row) => (group.name === "faults" ? row.name : `${row.name} ${group.name === "breakers" ? "refused" : group.name}`)));
  const fact = (value, name) => el("span", {}, el("b", { style: "color:var(--text)" }, value), ` ${name}`);
  place.replaceChildren(fact(moment(at, 2), Time.pinned ? "pinned" : ""), fact(perSecond(SERIES.offered[bin]), "offered"), fact(perSecond(SERIES.good[bin]), "good"),
    fact(perSecond(SERIES.tries[bin]), "tries"), fact(span(DATA.users.p50[bin]), "p50"), fact(span(DATA.users.p99[bin]), "p99"),
    el("span", { style: "color:var(--red)" }, active.slice(0, 6).join(" · ") + (active.length > 6 ? ` · ${active.length - 6} more` : "")));
}

function drawRest() { drawMap(); edgesTable(); drawTrace(); drawSpace(); }

function start() {
  const wanted = new URLSearchParams(location.hash.slice(1));
  Theme.set(wanted.get("theme") || (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light"));
  header();
  checksSection();
  timeBar();
  lanesPanel();
  rates("users", SERIES.offered, SERIES.good, ["offered", "good", "not answered well"], ["text", "blue"], "red");
  rates("mesh", SERIES.tries, SERIES.requests, ["tries", "requests", "retries"], ["amber", "teal"], "amber");
  latencyPanel();
  Graph.arrange();
  traceList();
  spaceSection();
  eventsSection();
  Time.onPoint.push(readout, () => requestAnimationFrame(drawMap), () => { if (Space.window) requestAnimationFrame(drawSpace); });
  Time.onPick.push(eventsSection);
  $("theme").addEventListener("click", () => { Theme.set(document.documentElement.dataset.theme === "dark" ? "light" : "dark"); redraw(); drawRest(); });
  addEventListener("resize", () => { redraw(); drawRest(); });
  addEventListener("keydown", (event) => {
    const step = (Time.to - Time.from) / 200;
    if (event.key === "ArrowLeft" || event.key === "ArrowRight") Time.pin((Time.cursor ?? (Time.from + Time.to) / 2) + (event.key === "ArrowLeft" ? -step : step));
    else if (event.key === "+" || event.key === "=") Time.zoom(0.7);
    else if (event.key === "-") Time.zoom(1 / 0.7);
    else if (event.key === "Escape") { Time.pin(null); Time.show(...WHOLE); eventsSection(); }
    else return;
    event.preventDefault();
  });
  if (wanted.has("from")) { Time.from = Number(wanted.get("from")); Time.to = Number(wanted.get("to")); }
  readout(null);
  for (const panel of Time.panels) panel.draw();
  if (DATA.traces.length) openTrace((DATA.traces.find((trace) => trace.why === "of a check") || DATA.traces.find((trace) => trace.failed) || DATA.traces.reduce((a, b) => (b.ms > a.ms ? b : a))).id);
  drawRest();
  if (wanted.has("t")) Time.pin(Number(wanted.get("t")));
  else if (BROKEN.length) Time.pin(Math.min(...BROKEN.map((check) => check.first_s)));
  document.documentElement.dataset.ready = "yes";
}
start();
