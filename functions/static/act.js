// The dialog of a verb: first what it would do, then doing it.

import { ask, at, tell } from "./api.js";

const EFFECTS_SHOWN = 50;

const changed = () => document.dispatchEvent(new Event("basegate:changed"));

let act = null, previews = 0;

function call(dry) {
  const body = { ...act.fields, reason: at("act-reason").value.trim() || (dry ? "dry run" : "") };
  for (const select of at("act-asks").querySelectorAll("select")) body[select.name] = select.value;
  const more = { "Content-Type": "application/json" };
  if (act.etag) more["If-Match"] = act.etag;
  if (!dry) more["Idempotency-Key"] = act.key;
  const path = `/api/${act.path}${dry ? "?dry_run=true" : ""}`;
  return ask(path, { method: act.method, headers: more, body: JSON.stringify(body) });
}

function effectLine({ what, subject }) {
  const line = document.createElement("li"), word = document.createElement("strong");
  word.textContent = what;
  line.append(word, ` ${subject}`);
  return line;
}

async function preview() {
  const mine = ++previews;
  tell("act-problem", "");
  tell("act-wait", "Loading…");
  at("act-go").disabled = true;
  try {
    const { effects, warnings = [] } = await (await call(true)).json();
    if (mine !== previews) return;
    const lines = effects.slice(0, EFFECTS_SHOWN).map(effectLine), more = effects.length - lines.length;
    if (more) lines.push(effectLine({ what: `and ${more} more`, subject: "" }));
    lines.push(...warnings.map((subject) => effectLine({ what: "warning", subject })));
    at("act-effects").replaceChildren(...lines);
    tell("act-wait", "");
    at("act-go").disabled = false;
  } catch (error) {
    if (mine === previews) refuse(error);
  }
}

function refuse(error) {
  tell("act-wait", "");
  tell("act-problem", error.message);
  at("act-go").disabled = error.status >= 400 && error.status < 500;
  if (error.status === 412) {
    at("act-effects").replaceChildren();
    changed();  // behind the dialog it is shown as it is now
  }
}

function askLine({ name, label, choices }) {
  const line = document.createElement("p"), words = document.createElement("label");
  const select = document.createElement("select");
  select.id = `act-${name}`;
  select.name = name;
  select.append(...choices.map(({ value, label: text }) => new Option(text, value)));
  words.htmlFor = select.id;
  words.textContent = label;
  line.append(words, select);
  return line;
}

export function openDialog(button) {
  const { label, subject, method, path, fields, asks, etag } = button.dataset;
  act = { method, path, etag, fields: JSON.parse(fields), key: crypto.randomUUID() };
  at("act-title").textContent = `${label} ${subject}`;
  at("act-go").textContent = label;
  at("act-go").className = button.classList.contains("grave") ? "primary grave" : "primary";
  at("act-reason").value = "";
  at("act-effects").replaceChildren();
  at("act-asks").replaceChildren(...JSON.parse(asks).map(askLine));
  at("act").showModal();
  at("act-reason").focus();
  preview();
}

async function go(event) {
  event.preventDefault();
  at("act-go").disabled = true;
  tell("act-wait", "Under way…");
  try {
    await call(false);
    at("act").close();
    changed();
  } catch (error) {
    refuse(error);
    // What was refused is over; what may have been done in spite of the lost answer is asked for under the same key.
    if (error.status && error.status < 500) act.key = crypto.randomUUID();
  }
}

at("act-form").addEventListener("submit", go);
at("act-asks").addEventListener("change", preview);
at("act-close").addEventListener("click", () => at("act").close());
