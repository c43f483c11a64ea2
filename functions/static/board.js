// The board's script: fetches the fragment of this page, refreshes it, follows logs, and opens dialogs.

import { openDialog } from "./dialog.js";
import { at, forget, hasKey, keep, keyed, request, show } from "./api.js";
import { morph } from "./morph.js";

const BUSY_MS = 2000, IDLE_MS = 15000, RETRY_MS = 5000, LIVE_LOG_CHARACTERS = 20000;

function fragmentPath() {
  const rest = location.pathname.replace(/^\/api\/board\/?/, "") || "overview";
  return `/api/board/fragments/${rest}${location.search}`;
}

let timer = 0;

function plan(wait) {
  clearTimeout(timer);
  if (!document.hidden) timer = setTimeout(load, wait);
}

async function load() {
  clearTimeout(timer);
  try {
    const text = await (await request(fragmentPath())).text();
    const fresh = new DOMParser().parseFromString(text, "text/html").body.firstElementChild;
    show("problem", "");
    render(fresh);
    await followLog();
    plan(fresh.dataset.running === "yes" ? BUSY_MS : IDLE_MS);
  } catch (error) {
    showError(error);
  }
}

function showError(error) {
  if (error.status === 401 && keyed) return askForKey("This key is not valid.");
  if (error.status === 401) return show("problem", "You are signed out. Reload this page to sign in.");
  const lasting = error.status >= 400 && error.status < 500;
  const shown = at("fragment").firstElementChild && at("as-of").textContent;
  show("problem", lasting || !shown ? error.message : `${error.message} The data is ${shown}.`);
  if (!lasting) plan(RETRY_MS);
}

function render(fresh) {
  const { title, headline, severity, asOf } = fresh.dataset;
  document.title = title === "Board" ? `${headline} · Basegate` : `${title} · Basegate`;
  if (at("status").textContent !== headline) at("status").textContent = headline;
  at("status").className = `mark ${severity}`;
  at("as-of").textContent = `as of ${asOf}`;
  at("key-form").hidden = true;
  at("forget").hidden = !keyed;
  const old = at("fragment").firstElementChild;
  if (old) keepingFocus(() => morph(old, fresh));
  else at("fragment").replaceChildren(fresh);
}

// Focus stays on its element; if that is removed, it moves to an element next to it.
function keepingFocus(change) {
  const focused = at("fragment").contains(document.activeElement) ? document.activeElement : null;
  const around = focused?.closest("section, li");
  change();
  if (!focused || document.activeElement === focused) return;
  const next = focused.isConnected ? focused : around?.isConnected && around.querySelector("button, a");
  (next || at("content")).focus({ preventScroll: true });
}

// Shows the end of the log of a running check.
async function followLog() {
  const element = document.querySelector("pre[data-live]");
  if (!element) return;
  let text;
  try {
    text = await (await request(`/api/${element.dataset.live}`)).text();
  } catch {
    return;  // no log yet, or the next refresh shows the error
  }
  const end = text.slice(-LIVE_LOG_CHARACTERS);
  if (!end || element.textContent === end) return;
  const atEnd = element.scrollTop + element.clientHeight >= element.scrollHeight - 4;
  element.textContent = end;
  if (atEnd) element.scrollTop = element.scrollHeight;
}

function askForKey(message = "") {
  forget();
  clearTimeout(timer);
  at("fragment").replaceChildren();
  at("key-form").hidden = false;
  at("forget").hidden = true;
  at("status").textContent = at("as-of").textContent = "";
  show("problem", message);
  at("key").focus();
}

async function showLog(link) {
  at("log-text").textContent = "…";
  at("log").showModal();
  try {
    at("log-text").textContent = await (await request(link.getAttribute("href"))).text();
  } catch (error) {
    at("log-text").textContent = error.message;
  }
}

document.addEventListener("click", (event) => {
  const button = event.target.closest("button.act"), link = event.target.closest("a[data-log]");
  if (button) openDialog(button);
  if (link) {
    event.preventDefault();
    showLog(link);
  }
});
document.addEventListener("visibilitychange", () => {
  clearTimeout(timer);
  if (!document.hidden && at("key-form").hidden) load();
});
document.addEventListener("basegate:changed", load);
at("log-close").addEventListener("click", () => at("log").close());
at("forget").addEventListener("click", () => askForKey());
at("key-form").addEventListener("submit", (event) => {
  event.preventDefault();
  keep(at("key").value.trim(), at("actor").value.trim());
  at("key").value = "";
  load();
});

for (const link of document.querySelectorAll("header nav a")) {
  if (link.pathname === location.pathname) link.setAttribute("aria-current", "page");
}
if (keyed && !hasKey()) askForKey();
else load();
