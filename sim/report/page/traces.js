// Waterfalls of the worst traces: who waited for whom.
let openId = null;
const HOP_COLOURS = { user: "text", out: "blue", try: "violet", in: "teal" };

function traceList() {
  const list = $("trace-list");
  list.replaceChildren(...DATA.traces.map((trace) => el("div", { class: `trace-item${trace.failed ? " bad" : ""}${trace.id === openId ? " on" : ""}`, onclick: () => openTrace(trace.id) },
    el("i"), el("span", {}, trace.name, el("small", {}, `${trace.why} · ${moment(trace.start, 2)} · ${trace.spans.length} spans${trace.tries > 1 ? ` · ${trace.tries} tries` : ""}`)), el("b", {}, span(trace.ms)))));
  $("traces-hint").textContent = DATA.traces.length ? "all of them: traces.otlp.jsonl" : "none were kept";
}

function openTrace(id, jump = false) {
  const trace = DATA.traces.find((one) => one.id === id);
  if (!trace) return;
  openId = id;
  traceList();
  drawTrace();
  if (jump) { Time.jump(trace.start); $("traces").scrollIntoView({ behavior: "smooth", block: "center" }); }
}

function drawTrace() {
  const trace = DATA.traces.find((one) => one.id === openId), place = $("trace");
  if (!trace) return;
  let canvas = place.querySelector("canvas");
  if (!canvas) {
    place.append((canvas = el("canvas")));
    canvas.addEventListener("pointermove", (event) => {
      const row = Math.floor((event.clientY - canvas.getBoundingClientRect().top - TRACE_TOP) / TRACE_ROW);
      const one = DATA.traces.find((candidate) => candidate.id === openId)?.spans[row];
      Tip.show(event, one ? `${one.kind === "try" ? `try ${one.tries}: ` : ""}${one.name}\n${one.host}${one.upstream ? ` → ${one.upstream}` : ""}\n${moment(one.start, 4)} for ${span((one.end - one.start) * 1000)}\n${one.status || "no answer"} ${one.flags} ${one.note}` : "");
    });
    canvas.addEventListener("pointerleave", () => Tip.hide());
    canvas.addEventListener("click", () => { const chosen = DATA.traces.find((candidate) => candidate.id === openId); if (chosen) Time.jump(chosen.start); });
  }
  const width = place.clientWidth, context = sized(canvas, width, TRACE_TOP + trace.spans.length * TRACE_ROW + 6);
  const left = Math.min(320, width * 0.42), right = width - 74;
  const x = (at) => left + ((at - trace.start) / Math.max(trace.end - trace.start, 1e-6)) * (right - left);
  context.textAlign = "center"; context.fillStyle = ink("soft");
  for (const mark of ticks(0, trace.end - trace.start, 6)) {
    context.fillStyle = ink("line"); context.fillRect(x(trace.start + mark), TRACE_TOP - 4, 1, trace.spans.length * TRACE_ROW + 6);
    context.fillStyle = ink("soft"); context.fillText(span(mark * 1000), x(trace.start + mark), 9);
  }
  trace.spans.forEach((one, place) => {
    const y = TRACE_TOP + place * TRACE_ROW, start = x(one.start), wide = Math.max(2, x(one.end) - start);
    context.textAlign = "left"; context.fillStyle = one.failed ? ink("red") : ink("text");
    const indent = Math.min(one.depth * 11, 130);
    const label = one.kind === "try" ? `try ${one.tries} → ${one.upstream}` : one.kind === "in" ? `${one.host}  ${one.name}` : one.kind === "user" ? `${one.host}  (user)  ${one.name}` : `→ ${one.name}`;
    context.fillText(shortened(context, label, left - indent - 10), 4 + indent, y + TRACE_ROW / 2);
    context.fillStyle = ink(one.failed ? "red" : HOP_COLOURS[one.kind]); context.globalAlpha = one.kind === "out" || one.kind === "user" ? 0.55 : 0.9;
    context.beginPath(); context.roundRect(start, y + 4, wide, TRACE_ROW - 8, 3); context.fill(); context.globalAlpha = 1;
    context.fillStyle = ink("soft");
    const text = `${span((one.end - one.start) * 1000)}${one.failed ? ` ${one.status || one.note || "no answer"} ${one.flags}` : ""}`;
    const room = context.measureText(text).width;
    if (start + wide + room + 8 < width) context.fillText(text, start + wide + 5, y + TRACE_ROW / 2);
    else { context.fillStyle = ink("panel"); if (room + 10 < wide) context.fillText(text, start + 6, y + TRACE_ROW / 2); }
  });
}
const TRACE_ROW = 21, TRACE_TOP = 22;
