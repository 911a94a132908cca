// The page of `mme local`: it asks for the state every second, and shows it.

import { charts, secondsBack, spanOf, STEPS } from "./charts.js";
import { badge, fill, h, show } from "./nodes.js";
import { errorItem, evictionItem, inARow, modelRow, variantBody } from "./rows.js";
import { ago, clock, duration, number, plural } from "./text.js";

const EVERY = 1000; // ms between two questions
const PATIENCE = 5000; // ms for an answer
const ROWS = 15; // of a page of models
const TYPING = 150; // ms without a key, after which is searched
const STRIDE = 10; // s that an arrow key moves the place where the charts are read

const view = {
  state: null, // the newest answer
  seen: Date.now(), // when there was one; this page was one, too
  lost: null, // why there is none now
  models: null, // the page of models that is shown: {total, models}
  problem: null, // why there are no models to show
  offset: 0, // where that page begins
  back: null, // s before now that the charts are read at; null is now
  width: 280, // px of a chart
  span: 600, // s that it shows
};

const $ = (id) => document.getElementById(id);
const wait = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

// --- Asking

async function ask(path, signal) {
  const patience = AbortSignal.timeout(PATIENCE);
  const answer = await fetch(path, {
    cache: "no-store",
    signal: signal ? AbortSignal.any([signal, patience]) : patience,
  });
  if (!answer.ok) throw new Error(`status ${answer.status}`);
  return answer.json();
}

async function askState() {
  try {
    view.state = await ask("/_mme/state");
    view.lost = null;
    view.seen = Date.now();
  } catch (error) {
    view.lost = error.message;
  }
}

let asking = null; // the question for models that is under way; a newer one ends it

async function askModels() {
  const endpoint = selected();
  if (endpoint === null) return;
  asking?.abort();
  const mine = (asking = new AbortController());
  const query = { endpoint: endpoint.name, search: $("search").value, offset: view.offset, limit: ROWS };
  try {
    const models = await ask(`/_mme/models?${new URLSearchParams(query)}`, mine.signal);
    if (mine.signal.aborted) return;
    view.models = models;
    view.problem = null;
  } catch (error) {
    if (mine.signal.aborted) return;
    view.models = null;
    view.problem = `The models cannot be read: ${error.message}.`;
  }
  const last = Math.max(0, Math.ceil((view.models?.total ?? 0) / ROWS) - 1) * ROWS;
  if (view.models && view.offset > last) turnTo(last); // they have become fewer
}

/** Ask and show, for as long as the page is looked at. One question at a time: the last is awaited. */
async function look() {
  for (;;) {
    if (!document.hidden) {
      await askState();
      if (view.lost === null) await askModels();
      render();
    }
    await (document.hidden ? becomesVisible() : wait(EVERY));
  }
}

function becomesVisible() {
  return new Promise((resolve) => {
    document.addEventListener("visibilitychange", resolve, { once: true });
  });
}

// --- Showing

/** The endpoint that the address names, or the first; null where there is none. */
function selected() {
  const endpoints = view.state?.endpoints ?? [];
  const wanted = ({ name }) => encodeURIComponent(name) === location.hash.slice(1);
  return endpoints.find(wanted) ?? endpoints[0] ?? null;
}

function render() {
  const endpoint = selected();
  renderLink(endpoint);
  if (view.state === null) return;
  $("none").hidden = endpoint !== null;
  $("endpoint").hidden = $("residents").hidden = endpoint === null;
  renderNav(endpoint);
  if (endpoint !== null) {
    renderEndpoint(endpoint, view.state.now);
    renderModels(endpoint, view.state.now);
  }
  renderEvents(endpoint);
}

function renderLink(endpoint) {
  const { lost, seen, state } = view;
  const said = `mme local does not answer; last seen ${clock(seen)}. It is asked every second.`;
  $("lost").hidden = lost === null;
  show($("lost"), lost === null ? "" : [said, h("small", null, ` (${lost})`)]);
  document.body.classList.toggle("stale", lost !== null);
  show($("link"), lost === null ? ["live ", h("time", null, clock(seen))] : "no answer");
  show($("about"), state === null ? "" : `${state.version} · ${state.region}`);
  const words = [lost === null ? null : "no answer", endpoint?.name, "mme local"];
  document.title = words.filter(Boolean).join(" · ");
}

function renderNav(shown) {
  const links = view.state.endpoints.map(({ name, status }) => {
    const current = name === shown.name ? "page" : null;
    const address = { href: `#${encodeURIComponent(name)}`, "aria-current": current };
    return h("a", address, name, " ", badge(status));
  });
  show($("endpoints"), links.length > 1 ? links : null);
}

function renderEndpoint(endpoint, now) {
  const { name, status, variants, failure_reason: reason } = endpoint;
  const instances = variants.flatMap((variant) => variant.instances);
  const counts = `${plural(variants.length, "variant")}, ${plural(instances.length, "instance")}`;
  const made = `created ${ago(now - endpoint.created)}`;
  show($("name"), name, " ", badge(status));
  show($("facts"), [counts, `configuration ${endpoint.config}`, made].join(" · "));
  $("failure").hidden = !reason;
  show($("failure"), reason);
  renderCharts(view.state.series[name] ?? NO_SERIES, now);
  const parts = variants.map((variant) => variantBody(variant, now));
  fill($("instances"), [$("instances").tHead.cloneNode(true), ...parts]);
}

const NO_SERIES = {
  step: 2, from: 0, invocations: [], hits: [], errors: [],
  p50_ms: [], p90_ms: [], cold_p90_ms: [], loaded: [],
};

function renderCharts(series, now) {
  const then = view.back === null ? null : clock((now - view.back) * 1000);
  view.span = spanOf(series, now);
  show($("span"), duration(view.span));
  show($("moment"), then === null ? `rates over ${STEPS * series.step} s` : `at ${then}`);
  show($("charts"), charts(series, now, view.back, view.width));
  const width = $("charts").querySelector("svg").clientWidth; // as the style sheet has it
  if (width === view.width) return;
  view.width = width;
  show($("charts"), charts(series, now, view.back, width));
}

function renderModels(endpoint, now) {
  const { models, total } = view.models ?? { models: [], total: 0 };
  const { offset } = view;
  const none = h("tr", null, h("td.nothing", { colspan: 5 }, whyNone(endpoint)));
  const rows = models.map((model) => modelRow(model, now));
  show($("models").tBodies[0], rows.length ? rows : none);
  show($("total"), view.models === null ? "" : number(total));
  show($("range"), `${number(offset + 1)} to ${number(offset + models.length)} of ${number(total)}`);
  $("pager").hidden = total <= ROWS;
  $("previous").disabled = offset === 0;
  $("next").disabled = offset + ROWS >= total;
}

function whyNone(endpoint) {
  if (view.problem !== null) return view.problem;
  if (view.models === null) return "Asking …";
  if ($("search").value) return "No model in memory has such a name.";
  if (endpoint.variants.every((variant) => !variant.multi_model)) {
    return "This endpoint has one model, which its container loads at its start.";
  }
  return "None yet: a model is loaded when it is invoked.";
}

/** What happened on the endpoint that is shown, and on those that are there no more. */
function renderEvents(endpoint) {
  const { endpoints, evictions, errors } = view.state;
  const shown = endpoint?.name ?? null;
  const others = new Set(endpoints.map(({ name }) => name).filter((name) => name !== shown));
  const list = (section, element, events, item, none) => {
    section.hidden = endpoint === null && events.length === 0;
    const items = events.map((event) => item(event, shown));
    show(element, items.length ? items : h("li.nothing", null, none));
  };
  const own = (events) => events.filter((event) => !others.has(event.endpoint));
  list($("evicted"), $("evictions"), own(evictions), evictionItem, "None: what was loaded has stayed.");
  list($("failed"), $("errors"), inARow(own(errors)), errorItem, "None.");
}

// --- What a person does

async function showModels() {
  await askModels();
  render();
}

function turnTo(offset) {
  view.offset = offset;
  showModels();
}

/** Read the charts at another time; null is now. */
function readAt(back) {
  view.back = back === null ? null : Math.min(view.span, Math.max(0, back));
  render();
}

let typing = null;
$("search").addEventListener("input", () => {
  clearTimeout(typing);
  typing = setTimeout(() => turnTo(0), TYPING);
});
$("previous").addEventListener("click", () => turnTo(Math.max(0, view.offset - ROWS)));
$("next").addEventListener("click", () => turnTo(view.offset + ROWS));

$("charts").addEventListener("pointermove", (event) => {
  const drawing = event.target.closest("svg");
  if (drawing === null) return;
  const { left, width } = drawing.getBoundingClientRect();
  readAt(secondsBack(event.clientX - left, width, view.span));
});
$("charts").addEventListener("pointerleave", () => readAt(null));
$("charts").addEventListener("focusout", () => readAt(null));
$("charts").addEventListener("keydown", (event) => {
  const moves = { ArrowLeft: STRIDE, ArrowRight: -STRIDE };
  if (event.key === "Escape") readAt(null);
  if (!(event.key in moves)) return;
  event.preventDefault();
  readAt((view.back ?? 0) + moves[event.key]);
});

addEventListener("resize", render);
addEventListener("hashchange", () => {
  view.models = null;
  $("search").value = "";
  turnTo(0);
});

look();
