// The mesh as a graph: who calls whom, how well that goes at the cursor, and which instances are there.
const HOSTS_BY_SERVICE = new Map();
for (const [name, zone, workload] of DATA.hosts) {
  if (!workload) continue;
  if (!HOSTS_BY_SERVICE.has(workload)) HOSTS_BY_SERVICE.set(workload, []);
  HOSTS_BY_SERVICE.get(workload).push({ name, zone });
}
const rowsOf = (name) => (DATA.lanes.find((group) => group.name === name) || { rows: [] }).rows;
const covers = (bars, at) => bars.some((bar) => bar[0] <= at && at < Math.max(bar[1], bar[0] + DATA.bins.width));
const STARTED = new Map();
for (const [, at, host, kind] of DATA.events) if (kind === "host.started" && at > 0 && !STARTED.has(host)) STARTED.set(host, at);

function hostState(name, at) {
  const down = rowsOf("down").find((row) => row.name === name);
  if (down && covers(down.bars, at)) return "down";
  if (STARTED.has(name) && at < STARTED.get(name) && !(down && down.bars[0][0] < STARTED.get(name))) return "absent";
  const ejected = rowsOf("ejected").find((row) => row.name === name);
  return ejected && covers(ejected.bars, at) ? "ejected" : "up";
}

const Graph = {
  // What was called, and what might have been: a connection that never ends leaves no record.
  edges: [...DATA.edges, ...DATA.run.calls.filter(([caller, service]) => !DATA.edges.some((edge) => edge.caller === caller && edge.service === service))
    .map(([caller, service]) => ({ caller, service, requests: 0, connections: 0, bad: 0, tries: 0, p99: null, count: [], badAt: [], triesAt: [], p99At: [] }))],
  height: 320,
  arrange() {
    const calls = new Map();
    for (const { caller, service } of this.edges) calls.set(caller, [...(calls.get(caller) || []), service]);
    const depth = new Map(DATA.run.users.map((name) => [name, 0]));
    const visit = (name, trail) => {
      for (const next of calls.get(name) || []) {
        if (trail.includes(next) || (depth.get(next) ?? -1) >= depth.get(name) + 1) continue;
        depth.set(next, depth.get(name) + 1);
        visit(next, [...trail, next]);
      }
    };
    for (const name of DATA.run.users) visit(name, [name]);
    for (const [name] of DATA.run.services) if (!depth.has(name)) depth.set(name, 1);
    const columns = [];
    for (const [name, level] of depth) (columns[level] = columns[level] || []).push(name);
    this.columns = columns.filter(Boolean);
    // Two sweeps: each node near the middle of those that call it.
    const order = new Map();
    this.columns.forEach((column) => {
      const weight = (name) => {
        const above = this.edges.filter((edge) => edge.service === name && order.has(edge.caller)).map((edge) => order.get(edge.caller));
        return above.length ? above.reduce((a, b) => a + b, 0) / above.length : 0.5;
      };
      column.sort((a, b) => weight(a) - weight(b));
      column.forEach((name, place) => order.set(name, (place + 0.5) / column.length));
    });
    this.height = Math.max(150, Math.max(...this.columns.map((column) => column.length)) * 72);
    this.place = order;
  },
};

function worth(edge, bin) {
  // What an edge did in a bin, or all in all.
  if (bin === null) {
    return { rate: (edge.requests || edge.connections) / WHOLE[1], bad: edge.requests ? edge.bad / edge.requests : 0, p99: edge.p99, tries: edge.requests ? edge.tries / edge.requests : 1, any: edge.requests + edge.connections > 0, tcp: !edge.requests };
  }
  const number = edge.count[bin] || 0;
  return { rate: number / DATA.bins.width, bad: number ? edge.badAt[bin] / number : 0, p99: edge.p99At[bin], tries: number ? edge.triesAt[bin] / number : 1, any: number > 0, tcp: !edge.requests };
}

function health(bad) { return bad > 0.2 ? "red" : bad > 0.005 ? "amber" : "green"; }

function drawMap() {
  const place = $("map");
  let canvas = place.querySelector("canvas");
  if (!canvas) place.append((canvas = el("canvas")));
  const width = place.clientWidth, height = Graph.height;
  const context = sized(canvas, width, height);
  const at = Time.cursor, bin = at === null ? null : binAt(at);
  $("map-moment").textContent = at === null ? "all in all; move over a chart to see a moment" : `at ${moment(at)}`;
  const boxWidth = Math.min(122, ((width - 16) / Graph.columns.length) * 0.66), boxHeight = 40;
  const spot = new Map();
  Graph.columns.forEach((column, level) => column.forEach((name) => {
    const x = Graph.columns.length === 1 ? width / 2 : 8 + boxWidth / 2 + level * ((width - boxWidth - 16) / (Graph.columns.length - 1));
    spot.set(name, [x, Graph.place.get(name) * height]);
  }));
  const busiest = Math.max(0.001, ...Graph.edges.map((edge) => worth(edge, null).rate));
  const labels = [];
  for (const edge of Graph.edges) {
    if (!spot.has(edge.caller) || !spot.has(edge.service)) continue;
    const [x1, y1] = spot.get(edge.caller), [x2, y2] = spot.get(edge.service);
    const now = worth(edge, bin);
    const start = x1 + boxWidth / 2, end = x2 - boxWidth / 2, bend = Math.max(22, (end - start) / 2);
    context.beginPath(); context.moveTo(start, y1); context.bezierCurveTo(start + bend, y1, end - bend, y2, end, y2);
    context.strokeStyle = ink(now.tcp ? "grey" : now.any ? health(now.bad) : "grey");
    context.globalAlpha = now.any || now.tcp ? 0.85 : 0.25;
    context.lineWidth = now.tcp ? 1.2 : 1.2 + 4 * Math.sqrt(Math.min(1, now.rate / busiest));
    context.setLineDash(now.tcp ? [2, 4] : []);
    context.stroke(); context.setLineDash([]); context.globalAlpha = 1;
    if (!now.tcp && now.any) labels.push([(start + end) / 2 + (end - start) * 0.08, y1 + (y2 - y1) * 0.62, now]);
  }
  context.textAlign = "center";
  for (const [x, y, now] of labels) {
    const text = now.bad > 0.0005 ? share(1 - now.bad) : span(now.p99);
    const wide = context.measureText(text).width + 8;
    context.fillStyle = ink("panel"); context.globalAlpha = 0.85; context.fillRect(x - wide / 2, y - 8, wide, 16);
    context.globalAlpha = 1; context.fillStyle = ink(now.bad > 0.0005 ? health(now.bad) : "soft"); context.fillText(text, x, y);
  }
  for (const [name, [x, y]] of spot) {
    const users = DATA.run.users.includes(name);
    context.fillStyle = ink("faint"); context.strokeStyle = ink("line"); context.lineWidth = 1;
    context.beginPath(); context.roundRect(x - boxWidth / 2, y - boxHeight / 2, boxWidth, boxHeight, users ? 20 : 9); context.fill(); context.stroke();
    context.fillStyle = ink("text"); context.textAlign = "center";
    context.fillText(shortened(context, name, boxWidth - 12), x, y - 7);
    const hosts = HOSTS_BY_SERVICE.get(name) || [];
    const gap = Math.min(11, (boxWidth - 16) / Math.max(1, hosts.length));
    hosts.forEach((host, number) => {
      const state = at === null ? "up" : hostState(host.name, at);
      const dot = x + (number - (hosts.length - 1) / 2) * gap;
      context.beginPath(); context.arc(dot, y + 10, 3.6, 0, 7);
      context.fillStyle = ink({ up: "green", down: "red", ejected: "amber", absent: "line" }[state]);
      if (state === "absent") { context.strokeStyle = ink("grey"); context.stroke(); } else context.fill();
    });
  }
}
