// The board's script: fetches the fragment of this page, keeps it fresh while something runs, and acts.
"use strict";

const KEY = "basegate-key", ACTOR = "basegate-actor", REFRESH_MS = 2000;
const keyed = document.body.dataset.keyed === "yes";
const at = (id) => document.getElementById(id);
const fragmentPath = () => {
  const rest = location.pathname.replace(/^\/api\/board\/?/, "") || "overview";
  return `/api/board/fragments/${rest}${location.search}`;
};

function headers(more = {}) {
  const sent = { ...more };
  if (keyed) {
    sent["x-functions-key"] = sessionStorage.getItem(KEY) ?? "";
    const actor = sessionStorage.getItem(ACTOR);
    if (actor) sent["X-Basegate-Actor"] = actor;
  }
  return sent;
}

// Asks for something; throws an Error with a sentence for the reader, and its status.
async function ask(path, options = {}) {
  let answer;
  try {
    answer = await fetch(path, { cache: "no-store", ...options, headers: headers(options.headers) });
  } catch {
    throw Object.assign(new Error("Basegate cannot be reached."), { status: 0 });
  }
  if (answer.ok) return answer;
  const told = await answer.json().catch(() => ({}));
  const words = told.title ? `${told.title}: ${told.detail}` : `Basegate answered ${answer.status}.`;
  throw Object.assign(new Error(words), { status: answer.status });
}

function tell(id, words) {
  const place = at(id);
  if (place.textContent !== words) place.textContent = words;
  place.hidden = !words;
}

function askForKey(words = "") {
  sessionStorage.removeItem(KEY);
  at("fragment").replaceChildren();
  at("key-form").hidden = false;
  at("forget").hidden = true;
  at("status").textContent = "";
  tell("problem", words);
  at("key").focus();
}

// Only regions that changed are swapped, and focus stays where it was.
function swap(fresh) {
  const old = at("fragment").firstElementChild;
  const regions = (root) => [...root.querySelectorAll("[data-region]")];
  const names = (root) => regions(root).map((region) => region.dataset.region).join();
  if (!old || names(old) !== names(fresh)) return at("fragment").replaceChildren(fresh);
  for (const region of regions(fresh)) {
    const before = old.querySelector(`[data-region="${CSS.escape(region.dataset.region)}"]`);
    if (before.isEqualNode(region)) continue;
    const focused = before.contains(document.activeElement) ? document.activeElement : null;
    const mark = focused && (focused.id ? `#${CSS.escape(focused.id)}`
      : focused.dataset.label ? `[data-label="${CSS.escape(focused.dataset.label)}"]`
      : focused.getAttribute("href") ? `[href="${CSS.escape(focused.getAttribute("href"))}"]` : "");
    before.replaceWith(region);
    if (mark) region.querySelector(mark)?.focus({ preventScroll: true });
  }
  Object.assign(old.dataset, fresh.dataset);
}

let timer = 0, running = false;

function plan() {
  clearTimeout(timer);
  if (running && !document.hidden) timer = setTimeout(load, REFRESH_MS);
}

async function load() {
  clearTimeout(timer);
  try {
    const text = await (await ask(fragmentPath())).text();
    const fresh = new DOMParser().parseFromString(text, "text/html").body.firstElementChild;
    running = fresh.dataset.running === "yes";
    document.title = `${fresh.dataset.title} · Basegate`;
    if (at("status").textContent !== fresh.dataset.headline) at("status").textContent = fresh.dataset.headline;
    at("key-form").hidden = true;
    at("forget").hidden = !keyed;
    tell("problem", "");
    swap(fresh);
  } catch (error) {
    if (keyed && error.status === 401) return askForKey("That key does not open this board.");
    if (error.status >= 400 && error.status < 500) running = false;
    tell("problem", error.message);
  }
  plan();
}

let act = null;

function call(dry) {
  const body = { ...act.fields, reason: at("act-reason").value.trim() || (dry ? "dry run" : "") };
  if (act.choices.length) body.to = at("act-to").value;
  const more = { "Content-Type": "application/json" };
  if (act.etag) more["If-Match"] = act.etag;
  if (!dry) more["Idempotency-Key"] = act.key;
  const path = `/api/v1/${act.path}${dry ? "?dry_run=true" : ""}`;
  return ask(path, { method: act.method, headers: more, body: JSON.stringify(body) });
}

async function preview() {
  const shown = act;
  tell("act-problem", "");
  at("act-go").disabled = true;
  try {
    const { effects } = await (await call(true)).json();
    if (shown !== act) return;
    at("act-effects").replaceChildren(...effects.map(({ what, subject }) => {
      const line = document.createElement("li"), word = document.createElement("strong");
      word.textContent = what;
      line.append(word, ` ${subject}`);
      return line;
    }));
    at("act-go").disabled = false;
  } catch (error) {
    if (shown !== act) return;
    at("act-effects").replaceChildren();
    tell("act-problem", error.message);
  }
}

function open(button) {
  const { label, method, path, fields, choices, etag } = button.dataset;
  act = { method, path, etag, fields: JSON.parse(fields), choices: JSON.parse(choices), key: crypto.randomUUID() };
  at("act-title").textContent = label;
  at("act-reason").value = "";
  at("act-effects").replaceChildren();
  at("act-go").className = button.classList.contains("grave") ? "primary grave" : "primary";
  at("act-choose").hidden = !act.choices.length;
  at("act-to").replaceChildren(...act.choices.map((choice) => new Option(choice, choice)));
  at("act").showModal();
  at("act-reason").focus();
  preview();
}

async function go(event) {
  event.preventDefault();
  at("act-go").disabled = true;
  try {
    await call(false);
    at("act").close();
    running = true;
    load();
  } catch (error) {
    tell("act-problem", error.message);
    if (error.status && error.status < 500) act.key = crypto.randomUUID();
    at("act-go").disabled = false;
  }
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
  if (button) open(button);
  if (link) { event.preventDefault(); showLog(link); }
});
document.addEventListener("visibilitychange", () => (document.hidden ? clearTimeout(timer) : running && load()));
at("act-form").addEventListener("submit", go);
at("act-to").addEventListener("change", preview);
at("act-close").addEventListener("click", () => at("act").close());
at("log-close").addEventListener("click", () => at("log").close());
at("forget").addEventListener("click", () => { clearTimeout(timer); running = false; askForKey(); });
at("key-form").addEventListener("submit", (event) => {
  event.preventDefault();
  sessionStorage.setItem(KEY, at("key").value.trim());
  sessionStorage.setItem(ACTOR, at("actor").value.trim());
  at("key").value = "";
  load();
});

if (keyed && !sessionStorage.getItem(KEY)) askForKey();
else load();
