"use strict";
// What every panel uses: the run's data, elements, words for numbers, colours of the theme.
const DATA = JSON.parse(document.getElementById("data").textContent);
addEventListener("error", (event) => { document.documentElement.dataset.error = event.message; });
const $ = (id) => document.getElementById(id);

function el(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value !== null && value !== undefined) element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

function moment(seconds, digits = 1) {
  const sign = seconds < 0 ? "-" : "";
  const all = Math.abs(seconds);
  const minutes = Math.floor(all / 60 + 1e-9);
  const rest = (all - minutes * 60).toFixed(digits).replace(/\.?0+$/, "") || "0";
  if (minutes >= 60) return `${sign}${Math.floor(minutes / 60)}h${String(minutes % 60).padStart(2, "0")}m${rest === "0" ? "" : rest + "s"}`;
  return minutes ? `${sign}${minutes}m${rest === "0" ? "" : rest + "s"}` : `${sign}${rest}s`;
}

function span(ms) {
  if (ms === null || ms === undefined) return "–";
  if (ms >= 10000) return `${(ms / 1000).toFixed(1)}s`;
  if (ms >= 1000) return `${(ms / 1000).toFixed(2)}s`;
  if (ms >= 100) return `${ms.toFixed(0)}ms`;
  if (ms >= 10) return `${ms.toFixed(1)}ms`;
  return ms >= 0.1 ? `${ms.toFixed(2)}ms` : `${(ms * 1000).toFixed(0)}µs`;
}

const count = (number) => Math.round(number).toLocaleString("en-US");
const perSecond = (number) => (number >= 100 ? number.toFixed(0) : number.toFixed(1)) + "/s";
function share(value) {
  if (value === 1) return "100%";
  return value > 0.9995 ? `${(value * 100).toFixed(3)}%` : `${(value * 100).toFixed(value > 0.99 ? 2 : 1)}%`;
}

const Theme = {
  colours: {},
  read() {
    const style = getComputedStyle(document.documentElement);
    for (const name of ["page", "panel", "line", "text", "soft", "faint", "blue", "green", "red", "amber", "violet", "teal", "grey", "heat0", "heat1"]) {
      this.colours[name] = style.getPropertyValue(`--${name}`).trim();
    }
  },
  set(name) {
    document.documentElement.dataset.theme = name;
    this.read();
  },
};
const ink = (name) => Theme.colours[name];

function sized(canvas, width, height) {
  const ratio = window.devicePixelRatio || 1;
  canvas.width = Math.max(1, Math.round(width * ratio));
  canvas.height = Math.max(1, Math.round(height * ratio));
  canvas.style.height = `${height}px`;
  const context = canvas.getContext("2d");
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.font = '11.5px ui-sans-serif, system-ui, "Segoe UI", Inter, "DejaVu Sans", sans-serif';
  context.textBaseline = "middle";
  return context;
}

function shortened(context, text, width) {
  if (context.measureText(text).width <= width) return text;
  let end = text.length;
  while (end > 1 && context.measureText(text.slice(0, end) + "…").width > width) end -= 1;
  return text.slice(0, end) + "…";
}

const Tip = {
  show(event, text) {
    const tip = $("tip");
    if (!text) return this.hide();
    tip.textContent = text;
    tip.hidden = false;
    const { width, height } = tip.getBoundingClientRect();
    tip.style.left = `${Math.min(event.clientX + 14, innerWidth - width - 8)}px`;
    tip.style.top = `${event.clientY + 18 + height > innerHeight ? event.clientY - height - 12 : event.clientY + 18}px`;
  },
  hide() { $("tip").hidden = true; },
};
