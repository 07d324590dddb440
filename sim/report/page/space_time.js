// Space and time: hosts as lines, messages as slanted arrows from sender to receiver. What never arrived ends in a cross.
const Space = { window: null, from: 0, to: 0, canvas: null };
const SPACE_ROW = 26, SPACE_TOP = 24, SPACE_LEFT = 150;
const SHOWN_AT_FIRST = 70;
const KINDS = ["data", "FIN", "RST", "SYN", "SYN-ACK", "refused"];

function spaceSection() {
  if (!DATA.windows.length) { $("space-section").hidden = true; return; }
  $("space-windows").className = "chips";
  Space.canvas = el("canvas");
  $("space").append(Space.canvas);
  listenSpace();
  chooseWindow(DATA.windows[0]);
  Time.onPick.push((at) => {
    const holding = DATA.windows.find((window) => window.from <= at && at <= window.to);
    if (holding && holding !== Space.window) chooseWindow(holding);
  });
}

function chooseWindow(window) {
  Space.window = window;
  [Space.from, Space.to] = firstView(window);
  $("space-windows").replaceChildren(...DATA.windows.map((one) => el("span", { class: `chip${one === window ? " on" : ""}`, onclick: () => { chooseWindow(one); Time.jump(one.at); } }, `${one.title} · ${moment(one.at, 3)}`)),
    el("span", { class: "legend" }, ...[["data", "blue"], ["connect", "violet"], ["end", "grey"], ["reset", "amber"], ["lost, or late by far", "red"]].map(([name, colour]) => el("span", {}, el("i", { style: `background:var(--${colour})` }), name))));
  $("space-hint").textContent = `${count(window.messages.length)} messages in ${span((window.to - window.from) * 1000)}; drag to move, ctrl and wheel to zoom, double click for all`;
  drawSpace();
}

function firstView({ at, from, to, messages }) {
  // So narrow that messages can be told apart, with some of it before the moment.
  let width = to - from;
  const inside = (wide) => messages.filter(([sent]) => sent >= at - wide * 0.35 && sent <= at + wide * 0.65).length;
  while (inside(width) > SHOWN_AT_FIRST && width > 0.01) width *= 0.8;
  return [Math.max(from, at - width * 0.35), Math.min(to, at + width * 0.65)];
}

const late = ([sent, arrives]) => arrives !== null && arrives - sent > Math.max(0.5, (Space.window.to - Space.window.from) / 2);

function messageColour(message) {
  const [, arrives, , , , kind] = message;
  if (arrives === null || late(message)) return "red";
  return ["blue", "grey", "amber", "violet", "violet", "amber"][kind] || "blue";
}

function drawSpace() {
  const { window, canvas } = Space;
  if (!window) return;
  const width = $("space").clientWidth, height = SPACE_TOP + window.hosts.length * SPACE_ROW + 8;
  const context = sized(canvas, width, height);
  const x = (at) => SPACE_LEFT + ((at - Space.from) / (Space.to - Space.from)) * (width - SPACE_LEFT - 10);
  const y = (host) => SPACE_TOP + host * SPACE_ROW + SPACE_ROW / 2;
  context.fillStyle = ink("soft"); context.textAlign = "center";
  for (const mark of ticks(Space.from, Space.to, width / 130)) {
    context.fillStyle = ink("line"); context.fillRect(x(mark), SPACE_TOP - 5, 1, height);
    context.fillStyle = ink("soft"); context.fillText(moment(mark, 4), x(mark), 10);
  }
  context.fillStyle = ink("red"); context.globalAlpha = 0.07;
  for (const [from, to] of FAULTS) {
    const start = Math.max(SPACE_LEFT, x(from)), end = Math.min(width - 10, x(to));
    if (end > start) context.fillRect(start, SPACE_TOP, end - start, height);
  }
  context.globalAlpha = 1;
  window.hosts.forEach((number, place) => {
    const [name, zone] = DATA.hosts[number];
    const zones = place && DATA.hosts[window.hosts[place - 1]][1] !== zone;
    if (zones) { context.fillStyle = ink("line"); context.fillRect(0, y(place) - SPACE_ROW / 2, width, 1); }
    context.textAlign = "left"; context.fillStyle = ink("text"); context.fillText(shortened(context, name, SPACE_LEFT - 62), 4, y(place));
    context.textAlign = "right"; context.fillStyle = ink("soft"); context.fillText(shortened(context, zone, 50), SPACE_LEFT - 8, y(place));
    context.fillStyle = ink("grey"); context.globalAlpha = 0.5; context.fillRect(SPACE_LEFT, y(place), width - SPACE_LEFT - 10, 1); context.globalAlpha = 1;
    const down = rowsOf("down").find((row) => row.name === name);
    for (const bar of down ? down.bars : []) {
      context.fillStyle = ink("red"); context.globalAlpha = 0.35;
      const start = Math.max(SPACE_LEFT, x(bar[0])), end = Math.min(width - 10, x(bar[1]));
      if (end > start) context.fillRect(start, y(place) - 3, end - start, 6);
      context.globalAlpha = 1;
    }
  });
  context.save();
  context.beginPath(); context.rect(SPACE_LEFT, 0, width - SPACE_LEFT - 10, height); context.clip();
  const line = new Map(window.hosts.map((number, place) => [number, place]));
  Space.drawn = [];
  for (const message of window.messages) {
    const [sent, arrives, source, target] = message;
    const stuck = arrives === null || late(message);
    const end = stuck ? sent + (Space.to - Space.from) * 0.012 : arrives;
    if (end < Space.from || sent > Space.to) continue;
    const x1 = x(sent), y1 = y(line.get(source)), full = y(line.get(target));
    const y2 = stuck ? y1 + (full - y1) * 0.35 : full, x2 = x(end);
    context.strokeStyle = context.fillStyle = ink(messageColour(message));
    context.globalAlpha = stuck ? 1 : 0.7; context.lineWidth = stuck ? 1.6 : 1.15;
    context.beginPath(); context.moveTo(x1, y1); context.lineTo(x2, y2); context.stroke();
    if (stuck) {
      context.beginPath(); context.moveTo(x2 - 3.5, y2 - 3.5); context.lineTo(x2 + 3.5, y2 + 3.5); context.moveTo(x2 + 3.5, y2 - 3.5); context.lineTo(x2 - 3.5, y2 + 3.5); context.stroke();
    } else {
      const angle = Math.atan2(y2 - y1, x2 - x1);
      context.beginPath(); context.moveTo(x2, y2); context.lineTo(x2 - 6 * Math.cos(angle - 0.4), y2 - 6 * Math.sin(angle - 0.4)); context.lineTo(x2 - 6 * Math.cos(angle + 0.4), y2 - 6 * Math.sin(angle + 0.4)); context.fill();
    }
    Space.drawn.push([x1, y1, x2, y2, message]);
  }
  context.globalAlpha = 0.8; context.strokeStyle = ink("red"); context.setLineDash([4, 3]);
  context.beginPath(); context.moveTo(x(window.at), SPACE_TOP - 6); context.lineTo(x(window.at), height); context.stroke(); context.setLineDash([]);
  if (Time.cursor !== null) { context.globalAlpha = 0.6; context.fillStyle = ink("text"); context.fillRect(x(Time.cursor), SPACE_TOP - 6, 1, height); }
  context.restore();
}

function nearestMessage(px, py) {
  let best = 6, found = null;
  for (const [x1, y1, x2, y2, message] of Space.drawn || []) {
    const length = (x2 - x1) ** 2 + (y2 - y1) ** 2 || 1;
    const along = Math.max(0, Math.min(1, ((px - x1) * (x2 - x1) + (py - y1) * (y2 - y1)) / length));
    const off = Math.hypot(px - x1 - along * (x2 - x1), py - y1 - along * (y2 - y1));
    if (off < best) { best = off; found = message; }
  }
  return found;
}

function listenSpace() {
  const canvas = Space.canvas;
  let grabbed = null;
  const at = (event) => Space.from + ((event.clientX - canvas.getBoundingClientRect().left - SPACE_LEFT) / (canvas.clientWidth - SPACE_LEFT - 10)) * (Space.to - Space.from);
  const show = (from, to) => {
    const length = Math.min(to - from, Space.window.to - Space.window.from);
    Space.from = Math.max(Space.window.from, Math.min(from, Space.window.to - length));
    Space.to = Space.from + length;
    drawSpace();
  };
  canvas.addEventListener("pointerdown", (event) => { grabbed = event.clientX; canvas.setPointerCapture(event.pointerId); });
  canvas.addEventListener("pointerup", () => { grabbed = null; });
  canvas.addEventListener("pointermove", (event) => {
    if (grabbed !== null) {
      const by = ((grabbed - event.clientX) / (canvas.clientWidth - SPACE_LEFT - 10)) * (Space.to - Space.from);
      grabbed = event.clientX;
      show(Space.from + by, Space.to + by);
      return;
    }
    const box = canvas.getBoundingClientRect();
    const found = nearestMessage(event.clientX - box.left, event.clientY - box.top);
    if (!found) return Tip.hide();
    const [sent, arrives, source, target, size, kind, number] = found;
    const way = arrives === null ? "never arrived" : `arrived after ${span((arrives - sent) * 1000)}`;
    Tip.show(event, `${DATA.hosts[source][0]} → ${DATA.hosts[target][0]}\n${KINDS[kind]}${kind ? "" : `, ${count(size)} bytes`}, connection ${number}\nsent ${moment(sent, 6)}, ${way}`);
  });
  canvas.addEventListener("pointerleave", () => Tip.hide());
  canvas.addEventListener("dblclick", () => show(Space.window.from, Space.window.to));
  canvas.addEventListener("wheel", (event) => {
    if (!(event.ctrlKey || event.metaKey || event.altKey)) return;
    event.preventDefault();
    const around = at(event), factor = Math.exp(event.deltaY * 0.004);
    show(around - (around - Space.from) * factor, around + (Space.to - around) * factor);
  }, { passive: false });
}
