// Updates the page to a fresh fragment, and changes only what differs: focus, selection and scroll position stay.

const keyOf = (node) => (node.nodeType === Node.ELEMENT_NODE ? node.dataset.key : undefined);
const alike = (one, other) => one.nodeName === other.nodeName && keyOf(one) === keyOf(other);
// A live log is filled by `followLog`: the fresh fragment has only its placeholder.
const isOwn = (old, fresh) => old.dataset?.live && old.dataset.live === fresh.dataset.live;

export function morph(old, fresh) {
  if (old.isEqualNode(fresh) || isOwn(old, fresh)) return;
  if (old.nodeType !== Node.ELEMENT_NODE) {
    old.nodeValue = fresh.nodeValue;
    return;
  }
  for (const { name } of [...old.attributes]) {
    if (name !== "open" && !fresh.hasAttribute(name)) old.removeAttribute(name);  // what the user opened stays open
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

// White space before the wanted element: once it is removed, nothing has to move.
function isBlankBefore(node, child) {
  const blank = node.nodeType === Node.TEXT_NODE && !node.nodeValue.trim();
  return blank && keyOf(child) !== undefined && node.nextSibling && alike(node.nextSibling, child);
}
