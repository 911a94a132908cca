// The rows of the page's tables and lists: instances, models, evictions, errors.

import { badge, h, instanceId, named } from "./nodes.js";
import { ago, bytes, clock, digits, duration, number, percent } from "./text.js";

const LONGEST = 600; // characters of an error's message
const COLUMNS = 10; // of the table of instances

/** A variant and its instances, as a part of the table of instances. */
export function variantBody(variant, now) {
  const cached = variant.cache ? "multi-model" : "multi-model, cache disabled";
  const kind = variant.multi_model ? cached : "one model";
  const facts = [variant.instance_type, `weight ${digits(variant.weight)}`, kind].join(" · ");
  const title = h(
    "th", { scope: "rowgroup", colspan: COLUMNS },
    h("b", null, variant.name), ` ${facts} · `,
    h("code", null, variant.image), " · ", h("code", null, variant.data_url),
  );
  const none = h("tr", null, h("td.nothing", { colspan: COLUMNS }, "No instance."));
  const rows = variant.instances.map((instance) => instanceRow(instance, now));
  return h("tbody", null, h("tr.variant", null, title), rows.length ? rows : none);
}

function instanceRow(instance, now) {
  const { id, invocations, loading, hits } = instance;
  const figures = [
    number(instance.loaded) + (loading ? ` + ${number(loading)} loading` : ""),
    number(instance.in_flight),
    number(invocations),
    invocations ? percent(hits / invocations) : "–",
    number(instance.loads),
    number(instance.evictions),
  ];
  const up = h("small", null, `${instance.url} · up ${duration(now - instance.started)}`);
  return h(
    "tr", null,
    h("th", { scope: "row" }, instanceId(id), h("code.rest", null, id.slice(8)), up),
    h("td", null, badge(instance.status)),
    h("td", null, gauge(`Memory of ${id}`, instance.memory_bytes, instance.memory_limit_bytes)),
    h("td", null, gauge(`Disk of ${id}`, instance.disk_bytes, instance.disk_limit_bytes)),
    figures.map((text) => h("td.figure", null, text)),
  );
}

/** How much of a limit is used; over nine tenths the bar changes its colour. */
function gauge(what, used, limit) {
  if (!limit) return h("small", null, bytes(used));
  const share = Math.min(1, used / limit);
  const text = `${bytes(used)} of ${bytes(limit)}`;
  const said = { "aria-valuemax": limit, "aria-valuenow": used, "aria-valuetext": text };
  const bar = h(
    "svg.gauge", { role: "meter", "aria-label": what, ...said },
    h("rect.track", { width: "100%", height: "100%" }),
    h(share > 0.9 ? "rect.high" : "rect.used", { width: `${100 * share}%`, height: "100%" }),
  );
  return [bar, h("small", null, text)];
}

/** A model in memory, and where. */
export function modelRow(model, now) {
  const used = model.state === "loading" ? badge("loading") : ago(now - model.last_used);
  return h(
    "tr", null,
    h("th", { scope: "row" }, named(model.target, `${model.target}\n${model.name}`)),
    h("td", null, model.instances.flatMap((id) => [instanceId(id), " "])),
    h("td.figure", null, model.size_bytes ? bytes(model.size_bytes) : "–"),
    h("td.figure", null, number(model.invocations)),
    h("td.figure", null, used),
  );
}

/** An eviction, with its reason. */
export function evictionItem(event, shown) {
  const facts = ` · ${bytes(event.size_bytes)} · idle for ${duration(event.idle_seconds)} · `;
  return h(
    "li", null,
    h("p", null, named(event.model), when(event, shown)),
    h("p.facts", null, h("bdi", null, event.reason), facts, instanceId(event.instance)),
  );
}

/** An error, with how often it came in a row. */
export function errorItem(event, shown) {
  const { message, times } = event;
  const text = message.length > LONGEST ? `${message.slice(0, LONGEST)} …` : message;
  const often = times > 1 ? h("small", null, ` × ${number(times)}`) : null;
  return h(
    "li", null,
    h("p", null, h("b.name", null, `${event.status} ${event.type}`, often), when(event, shown)),
    event.model ? h("p", null, named(event.model)) : null,
    h("p.facts", null, h("bdi", null, text)),
  );
}

/** Errors, where those that repeat the one before them are one, with how many `times`. */
export function inARow(errors) {
  const kinds = ["endpoint", "model", "status", "type", "message"];
  const lines = [];
  for (const error of errors) {
    const last = lines.at(-1);
    if (last && kinds.every((key) => last[key] === error[key])) last.times += 1;
    else lines.push({ ...error, times: 1 });
  }
  return lines;
}

/** An event's time, and its endpoint where that is not the one that is shown. */
function when({ time, endpoint }, shown) {
  const text = clock(time * 1000);
  const at = h("time", { datetime: new Date(time * 1000).toISOString() }, text);
  return h("span.when", null, endpoint === shown ? null : [named(endpoint), " "], at);
}
