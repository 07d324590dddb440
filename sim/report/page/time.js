// One stretch of time and one cursor for all panels. Panels draw when the stretch changes; the cursor is a line of its own.
const GUTTER = 190, RIGHT = 10;
const WHOLE = [0, Math.max(DATA.run.duration, 1e-3)];

const Time = {
  from: WHOLE[0], to: WHOLE[1], cursor: null, pinned: false,
  panels: [], onPoint: [], onPick: [],
  show(from, to) {
    const least = Math.max(DATA.bins.width * 2, 0.02);
    if (to - from < least) { const middle = (from + to) / 2; from = middle - least / 2; to = middle + least / 2; }
    const length = Math.min(to - from, WHOLE[1] - WHOLE[0]);
    this.from = Math.max(WHOLE[0], Math.min(from, WHOLE[1] - length));
    this.to = this.from + length;
    redraw();
  },
  point(at) {
    this.cursor = at === null ? null : Math.max(WHOLE[0], Math.min(at, WHOLE[1]));
    for (const panel of this.panels) panel.moveCursor();
    for (const tell of this.onPoint) tell(this.cursor);
  },
  pin(at) {
    this.pinned = at !== null;
    this.point(at);
    if (at !== null) for (const tell of this.onPick) tell(at);
    remember();
  },
  jump(at) { // to a moment named elsewhere: show it, with what was around it
    if (at < this.from || at > this.to) this.show(at - (this.to - this.from) / 2, at + (this.to - this.from) / 2);
    this.pin(at);
  },
  zoom(factor, around) {
    const at = around ?? this.cursor ?? (this.from + this.to) / 2;
    this.show(at - (at - this.from) * factor, at + (this.to - at) * factor);
  },
};
const binAt = (at) => Math.max(0, Math.min(DATA.bins.count - 1, Math.floor(at / DATA.bins.width)));

let drawing = false;
function redraw() {
  if (drawing) return;
  drawing = true;
  requestAnimationFrame(() => {
    drawing = false;
    for (const panel of Time.panels) panel.draw();
    remember();
  });
}

function remember() {
  const parts = [];
  if (Time.pinned && Time.cursor !== null) parts.push(`t=${Time.cursor.toFixed(3)}`);
  if (Time.from > WHOLE[0] || Time.to < WHOLE[1]) parts.push(`from=${Time.from.toFixed(3)}`, `to=${Time.to.toFixed(3)}`);
  try { history.replaceState(null, "", parts.length ? `#${parts.join("&")}` : location.pathname + location.search); } catch { /* some viewers forbid it */ }
}

class Panel {
  // `paint(context, view)` draws; `tip(at, x, y)` says what is there; `pick(at, x, y)` is a click that was no drag.
  constructor(id, height, paint, { tip = null, pick = null, whole = false } = {}) {
    this.place = $(id);
    this.height = height;
    this.paint = paint;
    this.tip = tip;
    this.pick = pick;
    this.whole = whole;
    this.canvas = el("canvas");
    this.line = el("div", { class: "cursor", hidden: "" });
    this.brush = el("div", { class: "brush", hidden: "" });
    this.place.append(this.canvas, this.line, this.brush);
    this.listen();
    Time.panels.push(this);
  }
  get from() { return this.whole ? WHOLE[0] : Time.from; }
  get to() { return this.whole ? WHOLE[1] : Time.to; }
  x(at) { return GUTTER + ((at - this.from) / (this.to - this.from)) * (this.width - GUTTER - RIGHT); }
  at(x) { return this.from + ((x - GUTTER) / (this.width - GUTTER - RIGHT)) * (this.to - this.from); }
  draw() {
    this.width = this.place.clientWidth;
    const height = typeof this.height === "function" ? this.height() : this.height;
    const context = sized(this.canvas, this.width, height);
    this.paint(context, { panel: this, width: this.width, height, x: (at) => this.x(at), left: GUTTER, right: this.width - RIGHT });
    this.moveCursor();
  }
  moveCursor() {
    const x = Time.cursor === null ? -1 : this.x(Time.cursor);
    this.line.hidden = x < GUTTER - 1 || x > this.width - RIGHT + 1;
    this.line.style.transform = `translateX(${x}px)`;
  }
  listen() {
    let start = null;
    const inside = (event) => event.clientX - this.canvas.getBoundingClientRect().left;
    const above = (event) => event.clientY - this.canvas.getBoundingClientRect().top;
    this.canvas.addEventListener("pointermove", (event) => {
      const x = inside(event);
      if (start !== null && Math.abs(x - start) > 4) {
        this.brush.hidden = false;
        this.brush.style.left = `${Math.max(GUTTER, Math.min(x, start))}px`;
        this.brush.style.width = `${Math.abs(Math.max(GUTTER, x) - Math.max(GUTTER, start))}px`;
      }
      if (!Time.pinned && x >= GUTTER) Time.point(this.at(x));
      Tip.show(event, this.tip ? this.tip(this.at(x), x, above(event)) : "");
    });
    this.canvas.addEventListener("pointerleave", () => { Tip.hide(); if (!Time.pinned) Time.point(null); });
    this.canvas.addEventListener("pointerdown", (event) => { start = inside(event); this.canvas.setPointerCapture(event.pointerId); });
    this.canvas.addEventListener("pointerup", (event) => {
      const x = inside(event), began = start;
      start = null;
      this.brush.hidden = true;
      if (began === null) return;
      if (Math.abs(x - began) > 4) return Time.show(this.at(Math.max(GUTTER, Math.min(x, began))), this.at(Math.max(x, began)));
      if (this.pick && this.pick(this.at(x), x, above(event))) return;
      if (x >= GUTTER) Time.pin(Time.pinned && Math.abs(this.x(Time.cursor) - x) < 6 ? null : this.at(x));
    });
    this.canvas.addEventListener("dblclick", () => { Time.pin(null); Time.show(...WHOLE); });
    this.canvas.addEventListener("wheel", (event) => {
      if (event.ctrlKey || event.metaKey || event.altKey) {
        event.preventDefault();
        Time.zoom(Math.exp(event.deltaY * 0.004), this.at(inside(event)));
      } else if (Math.abs(event.deltaX) > Math.abs(event.deltaY)) {
        event.preventDefault();
        const by = (event.deltaX / this.width) * (Time.to - Time.from);
        Time.show(Time.from + by, Time.to + by);
      }
    }, { passive: false });
  }
}

function ticks(from, to, wanted) {
  const rough = (to - from) / wanted;
  const step = [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1800, 3600, 7200, 21600].find((size) => size >= rough) || 86400;
  const marks = [];
  for (let number = Math.ceil(from / step - 1e-9); number * step <= to + 1e-9; number += 1) marks.push(number * step);
  return marks;
}

const FAULTS = (DATA.lanes.find((group) => group.name === "faults") || { rows: [] }).rows.flatMap((row) => row.bars);
const BROKEN = DATA.checks.filter((check) => !check.ok && check.first_s !== null);

function backdrop(context, { x, left, right, height, panel }) {
  // Faults lie behind every chart, warm-up in grey, broken checks as dashed lines.
  context.save();
  context.beginPath(); context.rect(left, 0, right - left, height); context.clip();
  if (DATA.run.warmup > panel.from) { context.fillStyle = ink("faint"); context.fillRect(left, 0, x(DATA.run.warmup) - left, height); }
  context.fillStyle = ink("red");
  for (const [from, to, , much] of FAULTS) {
    context.globalAlpha = 0.05 + 0.04 * much;
    context.fillRect(x(from), 0, Math.max(1.5, x(to) - x(from)), height);
  }
  context.globalAlpha = 0.7;
  context.strokeStyle = ink("red"); context.setLineDash([3, 3]);
  for (const check of BROKEN) { context.beginPath(); context.moveTo(x(check.first_s), 0); context.lineTo(x(check.first_s), height); context.stroke(); }
  context.restore();
}
