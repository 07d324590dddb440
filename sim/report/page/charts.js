// Curves over time: users, mesh, latency; and the bar on top with the whole run in small.
const rate = (values) => values.map((value) => value / DATA.bins.width);
const SERIES = {
  offered: rate(DATA.users.offered), good: rate(DATA.users.good),
  requests: rate(DATA.mesh.requests), tries: rate(DATA.mesh.tries),
};

function shown(panel) { return [Math.max(0, Math.floor(panel.from / DATA.bins.width) - 1), Math.min(DATA.bins.count - 1, Math.ceil(panel.to / DATA.bins.width))]; }
const middleOf = (bin) => Math.min((bin + 0.5) * DATA.bins.width, WHOLE[1]);

function nice(value) {
  const size = 10 ** Math.floor(Math.log10(value || 1));
  return [1, 1.5, 2, 3, 4, 5, 6, 8, 10].find((factor) => factor * size >= value) * size;
}

function path(context, values, x, y, from, to) {
  context.beginPath();
  let open = false;
  for (let bin = from; bin <= to; bin += 1) {
    if (values[bin] === null || values[bin] === undefined) { open = false; continue; }
    if (open) context.lineTo(x(middleOf(bin)), y(values[bin]));
    else context.moveTo(x(middleOf(bin)), y(values[bin]));
    open = true;
  }
}

function between(context, upper, lower, x, y, from, to) {
  context.beginPath();
  for (let bin = from; bin <= to; bin += 1) context.lineTo(x(middleOf(bin)), y(upper[bin] || 0));
  for (let bin = to; bin >= from; bin -= 1) context.lineTo(x(middleOf(bin)), y(lower ? lower[bin] || 0 : 0));
  context.closePath();
}

function legend(context, entries, height) {
  entries.forEach(([name, colour], place) => {
    const y = 15 + place * 18;
    context.fillStyle = ink(colour); context.fillRect(4, y - 1.5, 14, 3);
    context.fillStyle = ink("soft"); context.textAlign = "left"; context.fillText(name, 25, y);
  });
}

function rates(id, upper, lower, names, colours, gap) {
  return new Panel(id, 150, (context, view) => {
    const { panel, x, left, right, height } = view;
    const [from, to] = shown(panel);
    backdrop(context, view);
    let most = 0;
    for (let bin = from; bin <= to; bin += 1) most = Math.max(most, upper[bin]);
    most = nice(Math.max(most, 0.1) * 1.04);
    const y = (value) => height - 4 - (value / most) * (height - 14);
    grid(context, view, [0, most / 2, most], y, (value) => perSecond(value));
    context.save();
    context.beginPath(); context.rect(left, 0, right - left, height); context.clip();
    context.globalAlpha = 0.16; context.fillStyle = ink(colours[1]);
    between(context, lower, null, x, y, from, to); context.fill();
    context.globalAlpha = 0.45; context.fillStyle = ink(gap);
    between(context, upper, lower, x, y, from, to); context.fill();
    context.globalAlpha = 1; context.lineWidth = 1.6; context.lineJoin = "round";
    context.strokeStyle = ink(colours[0]); path(context, upper, x, y, from, to); context.stroke();
    context.strokeStyle = ink(colours[1]); path(context, lower, x, y, from, to); context.stroke();
    context.restore();
    legend(context, [[names[0], colours[0]], [names[1], colours[1]], [names[2], gap]], height);
  }, {
    tip: (at, x) => {
      if (x < GUTTER) return "";
      const bin = binAt(at);
      return `${moment(at)}\n${names[0]} ${perSecond(upper[bin])}\n${names[1]} ${perSecond(lower[bin])}`;
    },
  });
}

function grid(context, { left, right }, values, y, words) {
  context.textAlign = "right";
  for (const value of values) {
    context.strokeStyle = ink("line"); context.lineWidth = 1;
    context.beginPath(); context.moveTo(left, Math.round(y(value)) + 0.5); context.lineTo(right, Math.round(y(value)) + 0.5); context.stroke();
    context.fillStyle = ink("soft"); context.fillText(words(value), left - 7, Math.max(7, y(value)));
  }
}

function latencyPanel() {
  const { edges, cells } = DATA.users.heat;
  const most = Math.max(1, ...cells.map((cell) => cell[2]));
  const low = Math.log10(edges[0]), high = Math.log10(edges[edges.length - 1]);
  const mix = (strength) => {
    const [a, b] = [ink("heat0").split(",").map(Number), ink("heat1").split(",").map(Number)];
    return `rgb(${a.map((value, place) => Math.round(value + (b[place] - value) * strength)).join(",")})`;
  };
  return new Panel("latency", 210, (context, view) => {
    const { panel, x, left, right, height } = view;
    const [from, to] = shown(panel);
    backdrop(context, view);
    const y = (ms) => height - 4 - ((Math.log10(Math.max(ms, edges[0])) - low) / (high - low)) * (height - 12);
    const marks = [];
    for (let power = Math.ceil(low); power <= high; power += 1) marks.push(10 ** power);
    grid(context, view, marks.length > 1 ? marks : [edges[0], edges[edges.length - 1]], y, span);
    context.save();
    context.beginPath(); context.rect(left, 0, right - left, height); context.clip();
    const shades = Array.from({ length: 21 }, (_, step) => mix(step / 20));
    for (const [bin, row, number] of cells) {
      if (bin < from || bin > to) continue;
      const start = x(bin * DATA.bins.width), top = y(edges[row + 1]);
      context.fillStyle = shades[Math.round(20 * (0.15 + 0.85 * Math.log1p(number) / Math.log1p(most)))];
      context.globalAlpha = 0.92;
      context.fillRect(start, top, Math.max(1, x((bin + 1) * DATA.bins.width) - start + 0.4), y(edges[row]) - top + 0.4);
    }
    context.globalAlpha = 1; context.lineJoin = "round";
    for (const [name, colour, width] of [["p99", "red", 1.5], ["p90", "amber", 1.4], ["p50", "text", 1.6]]) {
      context.strokeStyle = ink(colour); context.lineWidth = width;
      path(context, DATA.users[name], x, y, from, to); context.stroke();
    }
    context.restore();
    legend(context, [["p99", "red"], ["p90", "amber"], ["p50", "text"], ["density", "blue"]], height);
  }, {
    tip: (at, x) => {
      if (x < GUTTER) return "";
      const bin = binAt(at), { p50, p90, p99, max, offered } = DATA.users;
      return `${moment(at)}: ${offered[bin]} requests\np50 ${span(p50[bin])}\np90 ${span(p90[bin])}\np99 ${span(p99[bin])}\nmax ${span(max[bin])}`;
    },
  });
}

function timeBar() {
  new Panel("overview", 40, (context, view) => {
    const { x, left, right, height, panel } = view;
    const most = Math.max(0.1, ...SERIES.offered);
    const y = (value) => height - (value / most) * (height - 6);
    backdrop(context, view);
    context.globalAlpha = 0.5; context.fillStyle = ink("red");
    between(context, SERIES.offered, SERIES.good, x, y, 0, DATA.bins.count - 1); context.fill();
    context.globalAlpha = 0.3; context.fillStyle = ink("blue");
    between(context, SERIES.good, null, x, y, 0, DATA.bins.count - 1); context.fill();
    context.globalAlpha = 1;
    if (Time.from > WHOLE[0] || Time.to < WHOLE[1]) {
      context.fillStyle = ink("page"); context.globalAlpha = 0.72;
      context.fillRect(left, 0, x(Time.from) - left, height); context.fillRect(x(Time.to), 0, right - x(Time.to), height);
      context.globalAlpha = 1; context.strokeStyle = ink("blue"); context.lineWidth = 1.5;
      context.strokeRect(x(Time.from), 0.75, x(Time.to) - x(Time.from), height - 1.5);
    }
    context.fillStyle = ink("soft"); context.textAlign = "left";
    context.fillText("whole run", 4, 11); context.fillText(panel.whole ? "drag to zoom" : "", 4, 28);
  }, { whole: true });
  new Panel("axis", 22, (context, view) => {
    const { x, left, right, panel } = view;
    context.fillStyle = ink("soft"); context.textAlign = "center";
    for (const mark of ticks(panel.from, panel.to, (right - left) / 95)) {
      if (x(mark) > right - 14 && mark < WHOLE[1]) continue;
      context.fillText(moment(mark, 3), Math.min(x(mark), right - 12), 13);
      context.fillRect(x(mark), 0, 1, 4);
    }
    context.fillStyle = ink("red");
    for (const check of BROKEN) {
      const at = x(check.first_s);
      if (at < left || at > right) continue;
      context.beginPath(); context.moveTo(at - 5, 0); context.lineTo(at + 5, 0); context.lineTo(at, 7); context.fill();
    }
    context.fillStyle = ink("text"); context.textAlign = "left";
    context.fillText(`${moment(panel.from)} – ${moment(panel.to)}`, 4, 13);
  });
}
