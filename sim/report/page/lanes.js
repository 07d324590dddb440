// Lanes: faults, changes and states as bars. A click follows the bar's event back to what caused it.
const LANE_COLOURS = {
  "faults": "red", "changes": "violet", "pushes": "blue", "down": "text", "cut off": "grey",
  "ejected": "amber", "breakers": "violet", "failing": "red", "instances": "green",
};
const ROW = 19, GROUP_GAP = 9, ROWS_MAX = 10;
const unfolded = new Set();

function laneRows() {
  const rows = [];
  let top = 4;
  for (const group of DATA.lanes) {
    const open = unfolded.has(group.name) || group.rows.length <= ROWS_MAX;
    const visible = open ? group.rows : group.rows.slice(0, ROWS_MAX - 1);
    visible.forEach((row, place) => { rows.push({ group: group.name, row, top, first: place === 0 }); top += ROW; });
    if (!open) { rows.push({ group: group.name, fold: `+ ${group.rows.length - visible.length} more`, top }); top += ROW; }
    top += GROUP_GAP;
  }
  return { rows, height: top };
}

function lanesPanel() {
  const hit = (at, x, y) => {
    const line = laneRows().rows.find((entry) => y >= entry.top && y < entry.top + ROW);
    if (!line || line.fold || x < GUTTER) return { line };
    const perPixel = (Time.to - Time.from) / Math.max(1, panel.width - GUTTER - RIGHT);
    const bars = line.row.bars.filter((bar) => at >= bar[0] - 4 * perPixel && at <= bar[1] + 4 * perPixel);
    bars.sort((a, b) => (a[1] - a[0]) - (b[1] - b[0]));
    return { line, bar: bars[0], more: bars.length };
  };
  const panel = new Panel("lanes", () => laneRows().height, (context, view) => {
    const { x, left, right, height } = view;
    backdrop(context, view);
    const { rows } = laneRows();
    for (const entry of rows) {
      const { group, row, top, first, fold } = entry;
      const colour = ink(LANE_COLOURS[group] || "blue");
      if (first) {
        context.strokeStyle = ink("line"); context.lineWidth = 1;
        context.beginPath(); context.moveTo(0, top - GROUP_GAP / 2 + 0.5); context.lineTo(right, top - GROUP_GAP / 2 + 0.5); context.stroke();
      }
      context.textAlign = "left"; context.fillStyle = fold ? ink("blue") : ink("text");
      context.fillText(shortened(context, fold || row.name, GUTTER - (first ? 74 : 10)), 4, top + ROW / 2);
      if (first) {
        context.textAlign = "right"; context.fillStyle = colour; context.globalAlpha = 0.95;
        context.fillText(group, left - 6, top + ROW / 2);
        context.globalAlpha = 1;
      }
      if (fold) continue;
      context.save();
      context.beginPath(); context.rect(left, top - 1, right - left, ROW); context.clip();
      context.strokeStyle = ink("faint"); context.beginPath(); context.moveTo(left, top + ROW / 2); context.lineTo(right, top + ROW / 2); context.stroke();
      for (const [from, to, what, much] of row.bars) {
        const start = x(from), width = x(to) - start;
        context.fillStyle = colour;
        if (group === "instances") {
          context.globalAlpha = 0.5; context.fillRect(start, top + ROW - 4 - much * (ROW - 8), width, 2 + much * (ROW - 8));
          context.globalAlpha = 1; context.fillStyle = ink("text"); context.textAlign = "left";
          if (width > 34) context.fillText(what, Math.max(start, left) + 5, top + ROW / 2);
          continue;
        }
        if (from === to) { context.globalAlpha = 0.75; context.fillRect(start - 0.75, top + 3, 1.5, ROW - 6); continue; }
        context.globalAlpha = 0.25 + 0.6 * much;
        context.beginPath(); context.roundRect(start, top + 3, Math.max(2.5, width), ROW - 6, 3.5); context.fill();
        if (width > 60 && (group === "faults" || group === "changes")) {
          context.globalAlpha = 1; context.fillStyle = ink("panel"); context.textAlign = "left";
          context.fillText(shortened(context, what, Math.min(x(to), right) - Math.max(start, left) - 10), Math.max(start, left) + 6, top + ROW / 2 + 0.5);
        }
      }
      context.restore();
    }
  }, {
    tip: (at, x, y) => {
      const { line, bar, more } = hit(at, x, y);
      if (!line || !bar) return line && line.row && x < GUTTER ? `${line.group}: ${line.row.name}` : "";
      const when = bar[0] === bar[1] ? moment(bar[0], 3) : `${moment(bar[0], 3)} – ${moment(bar[1], 3)} (${moment(bar[1] - bar[0], 2)})`;
      return `${bar[2]}\n${when}${more > 1 ? `\nand ${more - 1} more here` : ""}`;
    },
    pick: (at, x, y) => {
      const { line, bar } = hit(at, x, y);
      if (line && line.fold) { unfolded.add(line.group); redraw(); return true; }
      if (!bar) return false;
      Time.pin(bar[0]);
      if (bar[4]) explain(bar[4]);
      return true;
    },
  });
  return panel;
}
