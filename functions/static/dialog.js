// The dialog of an operation: shows its effects from a dry run, then executes it.

import { at, request, show } from "./api.js";

const EFFECTS_SHOWN = 50;

const changed = () => document.dispatchEvent(new Event("basegate:changed"));

let act = null, previews = 0;

function call(dry) {
  const body = { ...act.fields, reason: at("act-reason").value.trim() || (dry ? "dry run" : "") };
  for (const input of at("act-asks").querySelectorAll("select, input")) body[input.name] = input.value;
  const more = { "Content-Type": "application/json" };
  if (act.etag) more["If-Match"] = act.etag;
  if (!dry) more["Idempotency-Key"] = act.key;
  const path = `/api/${act.path}${dry ? "?dry_run=true" : ""}`;
  return request(path, { method: act.method, headers: more, body: JSON.stringify(body) });
}

function effectItem({ what, subject }) {
  const item = document.createElement("li"), verb = document.createElement("strong");
  verb.textContent = what;
  item.append(verb, ` ${subject}`);
  return item;
}

async function preview() {
  const mine = ++previews;
  show("act-problem", "");
  show("act-wait", "Loading…");
  at("act-go").disabled = true;
  try {
    const { effects, warnings = [] } = await (await call(true)).json();
    if (mine !== previews) return;
    const items = effects.slice(0, EFFECTS_SHOWN).map(effectItem), more = effects.length - items.length;
    if (more) items.push(effectItem({ what: `and ${more} more`, subject: "" }));
    items.push(...warnings.map((subject) => effectItem({ what: "warning", subject })));
    at("act-effects").replaceChildren(...items);
    show("act-wait", "");
    at("act-go").disabled = false;
  } catch (error) {
    if (mine === previews) showError(error);
  }
}

function showError(error) {
  show("act-wait", "");
  show("act-problem", error.message);
  at("act-go").disabled = error.status >= 400 && error.status < 500;
  if (error.status === 412) {
    at("act-effects").replaceChildren();
    changed();  // the page behind the dialog shows its current state
  }
}

function choiceInput(choices) {
  const select = document.createElement("select");
  select.append(...choices.map((choice) => new Option(choice.label, choice.value)));
  return select;
}

const dayInput = ({ first, last, value }) =>
  Object.assign(document.createElement("input"), { type: "date", min: first, max: last, value, required: true });

function field(ask) {
  const line = document.createElement("p"), text = document.createElement("label");
  const input = ask.choices ? choiceInput(ask.choices) : dayInput(ask);
  input.id = `act-${ask.name}`;
  input.name = ask.name;
  text.htmlFor = input.id;
  text.textContent = ask.label;
  line.append(text, input);
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
  at("act-asks").replaceChildren(...JSON.parse(asks).map(field));
  at("act").showModal();
  at("act-reason").focus();
  preview();
}

async function execute(event) {
  event.preventDefault();
  at("act-go").disabled = true;
  show("act-wait", "In progress…");
  try {
    await call(false);
    at("act").close();
    changed();
  } catch (error) {
    showError(error);
    // A refused call is complete; one whose response was lost may have been executed: it is repeated with the same key.
    if (error.status && error.status < 500) act.key = crypto.randomUUID();
  }
}

at("act-form").addEventListener("submit", execute);
at("act-asks").addEventListener("change", preview);
at("act-close").addEventListener("click", () => at("act").close());
