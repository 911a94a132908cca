// The charts of an endpoint: lines over the newest minutes, and what they read now or then.

import { h } from "./nodes.js";
import { duration, milliseconds, number, percent, rate } from "./text.js";

export const STEPS = 5; // of a series, over which rates are taken: calmer, and still quick
const SPANS = [60, 120, 240, 600]; // s that charts can show
const RECENT = 60; // s after which a value is not the present one
const LEAST = 0.01; // ms; no latency that is measured is under it
const BOX = { height: 120, left: 46, right: 6, top: 8, bottom: 18 }; // px

/** Seconds that the charts show: while there is little, not more than needed. */
export function spanOf(series, now) {
  return SPANS.find((span) => now - series.from <= span) ?? SPANS.at(-1);
}

/** Four figures. They are read `back` seconds before `now`; null is the present. */
export function charts(series, now, back, width) {
  const moment = { series, now, back, width, span: spanOf(series, now) };
  return plots(series, now).map((plot) => chart(plot, moment));
}

/** How many seconds before now a place in a chart is, from pixels right of the chart's left edge. */
export function secondsBack(x, width, span) {
  const share = (x - BOX.left) / (width - BOX.left - BOX.right);
  return span * (1 - Math.min(1, Math.max(0, share)));
}

/** What there is to draw, from an endpoint's series. */
function plots(series, now) {
  const { invocations, hits, errors, p50_ms, p90_ms, cold_p90_ms, loaded } = series;
  const rates = (counts) => perSecond(counts, series, now);
  const failures = rates(errors).map((value) => value || null); // none is no line at 0
  return [
    {
      title: "Invocations", scale: linear, format: rate,
      lines: [
        { name: "all", look: "blue area", values: rates(invocations) },
        { name: "errors", look: "red", values: failures },
      ],
    },
    {
      title: "Cache hits", scale: whole, format: percent,
      lines: [{ name: "of invocations", look: "green area", values: shares(hits, invocations) }],
    },
    {
      title: "Latency", scale: logarithmic, format: milliseconds,
      lines: [
        { name: "p50", look: "blue", values: p50_ms },
        { name: "p90", look: "violet", values: p90_ms },
        { name: "cold p90", look: "amber dots", values: cold_p90_ms },
      ],
    },
    {
      title: "Models loaded", scale: linear, format: number,
      lines: [{ name: "on all instances", look: "teal area", values: loaded }],
    },
  ];
}

/** Sums over each value and those just before it. */
function sums(values) {
  const latest = (i) => values.slice(Math.max(0, i + 1 - STEPS), i + 1);
  return values.map((_, i) => latest(i).reduce((a, b) => a + b, 0));
}

/** Rates from counts. The newest step is not over yet, and the first have none before them. */
function perSecond(counts, { from, step }, now) {
  const seconds = (i) => Math.min(now - from, step * (i + 1)) - step * Math.max(0, i + 1 - STEPS);
  return sums(counts).map((sum, i) => sum / Math.max(step, seconds(i)));
}

function shares(parts, wholes) {
  const all = sums(wholes);
  return sums(parts).map((sum, i) => (all[i] ? sum / all[i] : null));
}

const there = (values) => values.filter((value) => value !== null);

const whole = () => ({ ticks: [0, 0.5, 1], at: (share) => share });

/** A scale from 0 to a round number over the highest value; its half is round as well. */
function linear(lines) {
  const most = Math.max(2, ...lines.flatMap((line) => there(line.values)));
  const unit = 10 ** Math.floor(Math.log10(most));
  const top = unit * [1, 2, 4, 6, 8, 10].find((times) => times * unit >= most);
  return { ticks: [0, top / 2, top], at: (value) => value / top };
}

/** Warm and cold latencies are orders of magnitude apart: by logarithm, one scale shows both. */
function logarithmic(lines) {
  const log = (value) => Math.log10(Math.max(value, LEAST));
  const all = lines.flatMap((line) => there(line.values)).map(log);
  const low = all.length ? Math.floor(Math.min(...all)) : 0;
  const high = all.length ? Math.max(low + 2, Math.ceil(Math.max(...all))) : 3;
  const ticks = Array.from({ length: high - low + 1 }, (_, i) => 10 ** (low + i));
  return { ticks, at: (value) => (log(value) - low) / (high - low) };
}

/** The value of a line where the charts are read; at present, the newest that is not old. */
function reading(values, { series, now, back }) {
  const index = (time) => Math.floor((time - series.from) / series.step);
  if (back !== null) return values[index(now - back)] ?? null;
  return values.slice(Math.max(0, index(now - RECENT))).findLast((value) => value !== null) ?? null;
}

function chart(plot, moment) {
  const values = plot.lines.map(({ name, look, values }) => {
    const value = reading(values, moment);
    const text = value === null ? "–" : plot.format(value);
    return h("div", null, h("dt", { class: look }, name), h("dd", null, text));
  });
  const caption = h("figcaption", null, h("h4", null, plot.title), h("dl", null, values));
  return h("figure", { tabindex: 0, "aria-label": plot.title }, caption, drawing(plot, moment));
}

/** The chart in words, for who does not see it. */
function summary(plot, moment) {
  const parts = plot.lines.map(({ name, values }) => {
    const known = there(values);
    if (!known.length) return `${name}: none`;
    const [least, most] = [Math.min(...known), Math.max(...known)].map(plot.format);
    const value = reading(values, moment);
    const read = value === null ? "none" : plot.format(value);
    const at = moment.back === null ? "now" : `${Math.round(moment.back)} s ago`;
    return `${name}: ${at} ${read}, lowest ${least}, highest ${most}`;
  });
  return `${plot.title} in the newest ${duration(moment.span)}. ${parts.join(". ")}.`;
}

function drawing(plot, moment) {
  const { series, now, back, width, span } = moment;
  const { height, left, right, top, bottom } = BOX;
  const { ticks, at } = plot.scale(plot.lines);
  const y = (value) => top + (1 - at(value)) * (height - top - bottom);
  const across = (time) => left + (1 - (now - time) / span) * (width - left - right);
  const inside = (x) => Math.min(width - right, Math.max(left, x));
  const x = (i) => inside(across(series.from + (i + 0.5) * series.step));
  const level = (tick) => [
    h("line.grid", { x1: left, x2: width - right, y1: y(tick), y2: y(tick) }),
    h("text.end", { x: left - 7, y: y(tick) + 3.5 }, plot.format(tick)),
  ];
  const label = { role: "img", "aria-label": summary(plot, moment), width, height };
  const cursor = () => {
    const place = across(now - back);
    return h("line.cursor", { x1: place, x2: place, y1: top, y2: height - bottom });
  };
  return h(
    "svg", label,
    ticks.flatMap(level),
    h("text", { x: left, y: height - 3 }, `−${duration(span)}`),
    h("text.middle", { x: (left + width - right) / 2, y: height - 3 }, `−${duration(span / 2)}`),
    h("text.end", { x: width - right, y: height - 3 }, "now"),
    plot.lines.flatMap((line) => trace(line, x, y)),
    back === null ? null : cursor(),
  );
}

/** Paths through the values: where one is missing a line is interrupted, and one alone is a dot. */
function trace({ look, values }, x, y) {
  const dotted = look.includes("dots");
  const runs = [];
  values.forEach((value, i) => {
    if (value === null) return;
    if (dotted || i === 0 || values[i - 1] === null) runs.push([]);
    runs.at(-1).push([x(i).toFixed(1), y(value).toFixed(1)]);
  });
  const through = (points) => `M${points.map((point) => point.join(" ")).join("L")}`;
  const lines = runs.filter((points) => points.length > 1);
  const dots = runs.filter((points) => points.length === 1);
  const areas = look.includes("area") ? lines : [];
  const closed = (points) => [[points[0][0], y(0)], ...points, [points.at(-1)[0], y(0)]];
  return [
    h("path", { class: `fill ${look}`, d: areas.map((points) => `${through(closed(points))}Z`).join("") }),
    h("path", { class: `line ${look}`, d: lines.map(through).join("") }),
    h("path", { class: `line dots ${look}`, d: dots.map((points) => `${through(points)}h0`).join("") }),
  ];
}
