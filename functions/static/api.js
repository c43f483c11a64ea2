// Requests to Basegate, with the function key of this tab, or as the signed-in user.

const KEY = "basegate-key", ACTOR = "basegate-actor";

export const keyed = document.body.dataset.keyed === "yes";
export const at = (id) => document.getElementById(id);

export const hasKey = () => Boolean(sessionStorage.getItem(KEY));

export function keep(key, actor) {
  sessionStorage.setItem(KEY, key);
  sessionStorage.setItem(ACTOR, actor);
}

export const forget = () => sessionStorage.removeItem(KEY);

function headers(more = {}) {
  const sent = { ...more };
  if (keyed) {
    sent["x-functions-key"] = sessionStorage.getItem(KEY) ?? "";
    const actor = sessionStorage.getItem(ACTOR);
    if (actor) sent["X-Basegate-Actor"] = actor;
  }
  return sent;
}

// Sends a request; throws an Error with a message for the user, and the HTTP status (0: no response).
export async function request(path, options = {}) {
  let response;
  try {
    response = await fetch(path, { cache: "no-store", ...options, headers: headers(options.headers) });
  } catch {
    throw Object.assign(new Error("Basegate cannot be reached."), { status: 0 });
  }
  if (response.ok) return response;
  const problem = await response.json().catch(() => ({}));
  const message = problem.title ? `${problem.title}: ${problem.detail}` : `Basegate answered ${response.status}.`;
  throw Object.assign(new Error(message), { status: response.status });
}

export function show(id, text) {
  const element = at(id);
  if (element.textContent !== text) element.textContent = text;
  element.hidden = !text;
}
