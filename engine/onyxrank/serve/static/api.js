// Asking the server, and its refusals in plain words.

/** Why there is no answer. `kind` is one of the keys below, or "refused". */
export class Failure extends Error {
  constructor(kind, text, retryAfterS = null) {
    super(text);
    this.kind = kind;
    this.retryAfterS = retryAfterS;
  }
}

// In memory only: whoever reloads the page, or uses the machine next, has to give it again.
let key = "";

export function useKey(given) {
  key = given;
}

export const hasKey = () => key !== "";

/** Answer of a path below the page's own; `body` makes it a POST. */
export async function ask(path, { body, signal } = {}) {
  const headers = {};
  if (key) headers.authorization = `Bearer ${key}`;
  if (body) headers["content-type"] = "application/json";
  let response;
  try {
    const method = body ? "POST" : "GET";
    response = await fetch(path, { method, headers, body: body && JSON.stringify(body), signal, cache: "no-store" });
    if (response.ok) return await response.json();
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Failure("unreachable", "The server does not answer. It may have stopped, or the connection is gone.");
  }
  throw await failureOf(response);
}

async function failureOf(response) {
  const said = await response.json().catch(() => ({}));
  const message = said.error?.message ?? "";
  switch (response.status) {
    case 401:
      return new Failure("unauthorized", "This key does not open the server.");
    case 408:
      return new Failure("slow", "The request took too long to reach the server.");
    case 413:
      return new Failure("large", "That is more text than this server takes at once.");
    case 422:
      return new Failure("invalid", `The server cannot rank this: ${message || "it found a fault in it"}.`);
    case 429: {
      const wait = Math.max(1, Number(response.headers.get("retry-after")) || 1);
      return new Failure("overloaded", "The server is busy with other requests.", wait);
    }
    case 504:
      return new Failure("deadline", "The ranking took longer than this server allows. Try again, or rank fewer.");
    default:
      return new Failure("refused", `The server could not rank this (status ${response.status}).`);
  }
}
