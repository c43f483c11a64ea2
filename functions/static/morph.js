// Turns what is shown into what came fresh, touching only what differs: focus, selection and scrolling stay.

const keyOf = (node) => (node.nodeType === Node.ELEMENT_NODE ? node.dataset.key : undefined);
const alike = (one, other) => one.nodeName === other.nodeName && keyOf(one) === keyOf(other);
// A live log fills itself: what came fresh has only its place.
const isOwn = (old, fresh) => old.dataset?.live && old.dataset.live === fresh.dataset.live;

export function morph(old, fresh) {
  if (old.isEqualNode(fresh) || isOwn(old, fresh)) return;
  if (old.nodeType !== Node.ELEMENT_NODE) {
    old.nodeValue = fresh.nodeValue;
    return;
  }
  for (const { name } of [...old.attributes]) {
    if (name !== "open" && !fresh.hasAttribute(name)) old.removeAttribute(name);  // what a person unfolded stays so
  }
  for (const { name, value } of fresh.attributes) if (old.getAttribute(name) !== value) old.setAttribute(name, value);
  morphChildren(old, fresh);
}

function morphChildren(old, fresh) {
  const kept = new Set([...fresh.children].map(keyOf));
  let at = old.firstChild;
  const drop = () => {
    const next = at.nextSibling;
    at.remove();
    at = next;
  };
  for (const child of [...fresh.childNodes]) {
    while (at && (isGone(at, kept) || isBlankBefore(at, child))) drop();
    if (at && alike(at, child)) {
      morph(at, child);
      at = at.nextSibling;
      continue;
    }
    const known = keyOf(child) && [...old.children].find((node) => alike(node, child));
    old.insertBefore(known || child, at);
    if (known) morph(known, child);
  }
  while (at) drop();
}

const isGone = (node, kept) => keyOf(node) !== undefined && !kept.has(keyOf(node));

// White space that only stands before the very element wanted: without it nothing has to move.
function isBlankBefore(node, child) {
  const blank = node.nodeType === Node.TEXT_NODE && !node.nodeValue.trim();
  return blank && keyOf(child) !== undefined && node.nextSibling && alike(node.nextSibling, child);
}
