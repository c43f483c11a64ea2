// The board's script: fetches the fragment of this page, keeps it fresh, follows logs, and acts.

import { openDialog } from "./act.js";
import { ask, at, forget, hasKey, keep, keyed, tell } from "./api.js";
import { morph } from "./morph.js";

const BUSY_MS = 2000, IDLE_MS = 15000, AWAY_MS = 5000, LIVE_LOG_CHARACTERS = 20000;

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
    const text = await (await ask(fragmentPath())).text();
    const fresh = new DOMParser().parseFromString(text, "text/html").body.firstElementChild;
    tell("problem", "");
    show(fresh);
    await follow();
    plan(fresh.dataset.running === "yes" ? BUSY_MS : IDLE_MS);
  } catch (error) {
    explain(error);
  }
}

function explain(error) {
  if (error.status === 401 && keyed) return askForKey("That key does not open this board.");
  if (error.status === 401) return tell("problem", "You are signed out. Reload this page to sign in.");
  const lasting = error.status >= 400 && error.status < 500;
  const shown = at("fragment").firstElementChild && at("as-of").textContent;
  tell("problem", lasting || !shown ? error.message : `${error.message} This is what was known ${shown}.`);
  if (!lasting) plan(AWAY_MS);
}

function show(fresh) {
  const { title, headline, tone, asOf } = fresh.dataset;
  document.title = title === "Board" ? `${headline} · Basegate` : `${title} · Basegate`;
  if (at("status").textContent !== headline) at("status").textContent = headline;
  at("status").className = `mark ${tone}`;
  at("as-of").textContent = `as of ${asOf}`;
  at("key-form").hidden = true;
  at("forget").hidden = !keyed;
  const old = at("fragment").firstElementChild;
  if (old) keepingFocus(() => morph(old, fresh));
  else at("fragment").replaceChildren(fresh);
}

// Focus stays on its element; where that is gone, it goes to what stands next to it.
function keepingFocus(change) {
  const focused = at("fragment").contains(document.activeElement) ? document.activeElement : null;
  const around = focused?.closest("section, li");
  change();
  if (!focused || document.activeElement === focused) return;
  const next = focused.isConnected ? focused : around?.isConnected && around.querySelector("button, a");
  (next || at("content")).focus({ preventScroll: true });
}

// The end of the log of a check that is running.
async function follow() {
  const place = document.querySelector("pre[data-live]");
  if (!place) return;
  let text;
  try {
    text = await (await ask(`/api/${place.dataset.live}`)).text();
  } catch {
    return;  // nothing is written yet, or the next look will tell
  }
  const end = text.slice(-LIVE_LOG_CHARACTERS);
  if (!end || place.textContent === end) return;
  const atEnd = place.scrollTop + place.clientHeight >= place.scrollHeight - 4;
  place.textContent = end;
  if (atEnd) place.scrollTop = place.scrollHeight;
}

function askForKey(words = "") {
  forget();
  clearTimeout(timer);
  at("fragment").replaceChildren();
  at("key-form").hidden = false;
  at("forget").hidden = true;
  at("status").textContent = at("as-of").textContent = "";
  tell("problem", words);
  at("key").focus();
}

async function showLog(link) {
  at("log-text").textContent = "…";
  at("log").showModal();
  try {
    at("log-text").textContent = await (await ask(link.getAttribute("href"))).text();
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
