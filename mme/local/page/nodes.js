// Nodes, and how they come onto the page.
//
// Whatever is shown is made anew from what mme local said last, and only what differs from what is on
// the page is changed there: nothing flickers, and selections, focus and scrolling stay. All text
// becomes text nodes and attributes, never HTML: the names of models are what clients wrote.

const SVG = new Set(["svg", "path", "line", "rect", "text"]);
const SVG_SPACE = "http://www.w3.org/2000/svg";
const HTML_SPACE = "http://www.w3.org/1999/xhtml";

/** Make an element, "tag.class.class"; its content is nodes, texts that stay texts, and nulls. */
export function h(tag, attributes, ...content) {
  const [name, ...classes] = tag.split(".");
  const node = document.createElementNS(SVG.has(name) ? SVG_SPACE : HTML_SPACE, name);
  if (classes.length) node.setAttribute("class", classes.join(" "));
  for (const [key, value] of Object.entries(attributes ?? {})) {
    if (value !== null) node.setAttribute(key, value);
  }
  node.append(...content.flat().filter((part) => part !== null));
  return node;
}

/** Let an element have this content and no other. */
export function show(element, ...content) {
  fill(element, [...h("div", null, ...content).childNodes]);
}

/** Let an element have these children, which must be nodes, and no others. */
export function fill(element, fresh) {
  const old = [...element.childNodes];
  fresh.forEach((node, i) => (i < old.length ? patch(old[i], node) : element.append(node)));
  old.slice(fresh.length).forEach((node) => node.remove());
}

/** Let a node of the page become like a fresh one. */
function patch(old, fresh) {
  if (old.isEqualNode(fresh)) return;
  if (old.nodeName !== fresh.nodeName) {
    old.replaceWith(fresh);
  } else if (old.nodeType === Node.TEXT_NODE) {
    old.data = fresh.data;
  } else {
    for (const name of old.getAttributeNames()) {
      if (!fresh.hasAttribute(name)) old.removeAttribute(name);
    }
    for (const { name, value } of fresh.attributes) {
      if (old.getAttribute(name) !== value) old.setAttribute(name, value);
    }
    fill(old, [...fresh.childNodes]);
  }
}

/** A name that somebody chose: whatever it is written with, what is around it stays in its order. */
export const named = (text, title = text) => h("bdi.name", { title }, text);

export const badge = (status) => h(`span.badge.${status.replace(/\W/g, "")}`, null, status);

/** Instances are told apart by how their ids begin. */
export const instanceId = (id) => h("code.id", { title: id }, id.slice(0, 8));
