// Asking Basegate: with the key of this tab, or, where people sign in, as whoever is signed in.

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

// Asks for something; throws an Error with a sentence for the reader, and its status (0: not reached).
export async function ask(path, options = {}) {
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

export function tell(id, words) {
  const place = at(id);
  if (place.textContent !== words) place.textContent = words;
  place.hidden = !words;
}
