// Header, checks, edges and events: what is read rather than looked at.
function header() {
  const run = DATA.run, totals = run.totals;
  $("name").textContent = run.scenario;
  const broken = DATA.checks.filter((check) => !check.ok).length;
  const words = !DATA.checks.length ? "nothing was promised" : broken ? `${broken} of ${DATA.checks.length} checks broken` : `all ${DATA.checks.length} checks hold`;
  $("verdict").append(el("span", { class: `pill ${broken ? "bad" : "ok"}` }, words), el("span", { class: "pill soft mono" }, `seed ${run.seed} · ${run.hash.slice(0, 16)}`));
  const more = totals.requests ? (totals.tries - totals.requests) / totals.requests : 0;
  const tiles = [
    [share(totals.journeys ? totals.journeys_ok / totals.journeys : 1), `of ${count(totals.journeys)} journeys`],
    [span(totals.visits_p50_s * 1000), "p50 of users"], [span(totals.visits_p99_s * 1000), "p99 of users"],
    [count(totals.requests), "requests in the mesh"], [`+${share(more)}`, `retries (${count(totals.tries)} tries)`],
    [moment(run.duration), `simulated in ${run.wall.toFixed(1)}s, ${Math.round(run.virtual / Math.max(run.wall, 1e-9))}×`],
  ];
  for (const [value, name] of tiles) $("tiles").append(el("div", { class: "tile" }, el("b", {}, value), el("span", {}, name)));
  const footer = [...run.notes];
  if (run.kept > 1) footer.push(`edges and traces are of one trace in ${run.kept}`);
  $("notes").append(...footer.map((note) => el("div", {}, `note: ${note}`)), el("div", {}, `${run.file}, seed ${run.seed}: the same file, seed and version give the same run, event for event (hash ${run.hash}).`));
}

function checksSection() {
  const order = [...DATA.checks].sort((a, b) => a.ok - b.ok);
  for (const check of order) {
    if (check.always && check.ok) continue;
    const facts = el("p", {}, check.detail);
    const card = el("div", { class: `check${check.ok ? "" : " bad"}` }, el("h3", {}, check.name, el("b", {}, check.ok ? check.value : `✕ ${check.value}`)), facts);
    if (!check.ok) {
      const line = el("p");
      if (check.first_s !== null) line.append(el("a", { class: "link", onclick: (event) => { event.stopPropagation(); Time.jump(check.first_s); } }, `first at ${moment(check.first_s, 3)}`), " ");
      if (check.near) line.append(`near ${check.near} `);
      if (check.trace && DATA.traces.some((trace) => trace.id === check.trace)) line.append(el("a", { class: "link", onclick: (event) => { event.stopPropagation(); openTrace(check.trace, true); } }, `trace ${check.trace.slice(0, 8)}`));
      if (line.childNodes.length) card.append(line);
      if (check.requests.length) card.append(el("p", { class: "mono" }, check.requests.slice(0, 2).join("\n")));
      if (check.first_s !== null) card.addEventListener("click", () => Time.jump(check.first_s));
    }
    $("checks").append(card);
  }
  const always = DATA.checks.filter((check) => check.always);
  if (always.length) {
    const holding = always.filter((check) => check.ok);
    $("always").append(el("details", {}, el("summary", {}, `${holding.length} of ${always.length} always-on checks hold`), ...holding.map((check) => el("div", {}, `✓ ${check.name}: ${check.detail} (${check.value})`))));
  }
  if (!DATA.checks.length) $("checks-section").hidden = true;
}

const EDGE_COLUMNS = [
  ["", (edge) => edge.caller + " → " + edge.service, (edge) => [edge.caller, " → ", edge.service], "left"],
  ["requests", (edge) => edge.requests || edge.connections, (edge) => (edge.requests ? count(edge.requests) : `${count(edge.connections)} conn`)],
  ["success", (edge) => (edge.requests ? 1 - edge.bad / edge.requests : 1), (edge) => (edge.requests ? share(1 - edge.bad / edge.requests) : "–")],
  ["p50", (edge) => edge.p50 || 0, (edge) => span(edge.p50)], ["p90", (edge) => edge.p90 || 0, (edge) => span(edge.p90)], ["p99", (edge) => edge.p99 || 0, (edge) => span(edge.p99)],
  ["tries/1", (edge) => (edge.requests ? edge.tries / edge.requests : 0), (edge) => (edge.requests ? (edge.tries / edge.requests).toFixed(3) : "–")],
];
let edgeOrder = [2, 1];

function edgesTable() {
  const [column, direction] = edgeOrder;
  const rows = [...DATA.edges].sort((a, b) => {
    const [x, y] = [EDGE_COLUMNS[column][1](a), EDGE_COLUMNS[column][1](b)];
    return (x < y ? -1 : x > y ? 1 : 0) * direction;
  });
  const head = el("tr", {}, ...EDGE_COLUMNS.map(([name, , , side], place) => el("th", { class: side || "", onclick: () => { edgeOrder = [place, place === column ? -direction : 1]; edgesTable(); } }, name || "edge")), el("th", { class: "left" }, "over time"), el("th", { class: "left" }, "flags"));
  const body = rows.map((edge) => {
    const good = edge.requests ? 1 - edge.bad / edge.requests : 1;
    const flags = Object.entries(edge.flags).map(([flag, number]) => el("span", { class: "flag" }, `${flag} ${count(number)}`));
    const small = el("canvas");
    const row = el("tr", {}, ...EDGE_COLUMNS.map(([name, , text, side]) => el("td", { class: name === "success" && good < 0.999 ? (good < 0.99 ? "bad" : "warn") : side || "" }, ...[text(edge)].flat())), el("td", { class: "left" }, small), el("td", { class: "left flags" }, ...flags));
    row.spark = () => sparkline(small, edge);
    return row;
  });
  $("edges").replaceChildren(el("table", {}, el("thead", {}, head), el("tbody", {}, ...body)));
  for (const row of body) row.spark();
  $("edges-moment").textContent = "requests between sidecars; a column's name sorts";
}

function sparkline(canvas, edge) {
  const width = 130, height = 22, context = sized(canvas, width, height);
  canvas.style.width = `${width}px`;
  const columns = Math.min(65, DATA.bins.count), per = DATA.bins.count / columns;
  const sum = (values, place) => { let total = 0; for (let bin = Math.floor(place * per); bin < Math.floor((place + 1) * per); bin += 1) total += values[bin]; return total; };
  const all = Array.from({ length: columns }, (_, place) => sum(edge.count, place));
  const most = Math.max(1, ...all);
  for (let place = 0; place < columns; place += 1) {
    const high = (all[place] / most) * (height - 2), bad = (sum(edge.badAt, place) / most) * (height - 2);
    context.fillStyle = ink("grey"); context.globalAlpha = 0.55; context.fillRect(place * 2, height - high, 1.5, high - bad);
    context.fillStyle = ink("red"); context.globalAlpha = 1; context.fillRect(place * 2, height - (bad ? Math.max(bad, 1.5) : 0), 1.5, bad ? Math.max(bad, 1.5) : 0);
  }
}

const EVENT_BY_ID = new Map(DATA.events.map((event) => [event[0], event]));

function eventLine([id, at, host, kind, level, , text], ...before) {
  return el("div", { class: `event ${level}`, title: `${host} ${kind}\n${text}`, onclick: () => { Time.jump(Math.max(0, at)); explain(id); } }, ...before, el("span", { class: "t mono" }, moment(at, 3)), el("span", {}, host), el("span", { class: "k" }, kind), el("span", { class: "x" }, text));
}

function explain(id) {
  // The chain from an event back to the beginning, and what followed from it directly.
  const chain = [], seen = new Set();
  for (let event = EVENT_BY_ID.get(id); event && !seen.has(event[0]); event = EVENT_BY_ID.get(event[5])) { seen.add(event[0]); chain.push(event); }
  if (!chain.length) return;
  const after = DATA.events.filter((event) => event[5] === id);
  $("why-section").hidden = false;
  $("why").replaceChildren(
    ...after.slice(0, 6).map((event) => eventLine(event, el("em", {}, "↳"))), ...(after.length > 6 ? [el("div", { class: "event" }, el("em", {}, ""), `and ${after.length - 6} more followed`)] : []),
    ...chain.map((event, place) => eventLine(event, el("em", {}, place ? "↑" : "●"))),
  );
}

const SHOWN_EVENTS_MAX = 400;
function eventsSection() {
  // Those around the cursor; in order, the nearest in the middle.
  const at = Time.pinned ? Time.cursor : null;
  const near = at === null ? DATA.events : DATA.events.filter((event) => Math.abs(event[1] - at) <= Math.max(5, (Time.to - Time.from) / 20));
  const notable = at === null ? near.filter((event) => event[4] !== "info" || /^(timeline|host|endpoint|service|fault|requests)/.test(event[3])).filter((event) => event[1] >= 0) : near;
  $("events-hint").textContent = at === null ? "the notable ones; pin a moment (click) for all around it" : `around ${moment(at, 2)}`;
  $("events").replaceChildren(...notable.slice(0, SHOWN_EVENTS_MAX).map((event) => eventLine(event)));
}
