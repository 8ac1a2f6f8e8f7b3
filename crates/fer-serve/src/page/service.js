// What the page and the service say to each other: requests with the token, and the socket of the live frames.

const KEY = "fer.token";
const MOST_UNDER_WAY = 2;
const LOST_AFTER = 5000;
const [SHORTEST_WAIT, LONGEST_WAIT] = [500, 8000];

let token = "";

/** The token of the address (`#token=…`), which leaves the address bar with it, or the one of this tab. */
export function takeToken() {
  const given = new URLSearchParams(location.hash.slice(1)).get("token");
  if (given !== null) {
    history.replaceState(null, "", location.pathname + location.search);
    setToken(given);
    return;
  }
  try {
    token = sessionStorage.getItem(KEY) ?? "";
  } catch {
    // A browser that forbids storage asks again after each reload.
  }
}

export function setToken(given) {
  token = given.trim();
  try {
    sessionStorage.setItem(KEY, token);
  } catch {
    // As above.
  }
}

export class ServiceError extends Error {
  constructor(message, status, retryAfter) {
    super(message);
    Object.assign(this, { status, retryAfter });
  }
}

/** The JSON that the service answers with; its message as an error where it refuses. */
export async function ask(path, options = {}) {
  let response;
  try {
    response = await fetch(path, token ? { ...options, headers: { Authorization: `Bearer ${token}` } } : options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ServiceError("The service does not answer. Is it running?", 0);
  }
  const answer = await response.json().catch(() => null);
  if (response.ok && answer) return answer;
  const message = answer?.error?.message ?? `The service answers with status ${response.status}.`;
  throw new ServiceError(message, response.status, Number(response.headers.get("Retry-After")));
}

/** What `v1/model` says about itself. */
export function inOneLine({ name, input, labels, card }) {
  const size = `${input.width}×${input.height} ${input.channels === 1 ? "grey" : "colour"}`;
  const accuracy = accuracyOf(card ?? "");
  return `Model ${name}: ${size}, ${labels.length} labels${accuracy && `; accuracy ${accuracy}`}`;
}

/** The last row of the card's first table with accuracies, or nothing. */
function accuracyOf(card) {
  const rows = card.split("\n").map(line => line.split("|").map(cell => cell.trim()));
  const head = rows.findIndex(cells => cells.includes("accuracy"));
  if (head < 0) return "";
  const length = rows.slice(head).findIndex(cells => cells.length < 2);
  const last = rows.at(length < 0 ? -1 : head + length - 1);
  const accuracy = last[rows[head].indexOf("accuracy")];
  return /^\d/.test(accuracy) ? `${accuracy} (${last[1]})` : "";
}

/** The live frames' socket. It opens itself again until it is closed, and never has more than two frames under way. */
export class Live {
  #socket = null;
  #frames = new Map();
  #count = 0;
  #wait = SHORTEST_WAIT;
  #timer = 0;
  #explain = false;
  #on;

  /**
   * `on.answer(answer, frame)`; `on.state("connecting" | "open" | "closed" | "refused", milliseconds until the next try)`;
   * `on.lost()` where a frame was not answered.
   */
  constructor(on, explain) {
    this.#on = on;
    this.#explain = explain;
    this.open();
  }

  get ready() {
    this.#forget();
    return this.#socket?.readyState === WebSocket.OPEN && this.#frames.size < MOST_UNDER_WAY;
  }

  open() {
    clearTimeout(this.#timer);
    if (this.#socket) return;
    const address = new URL("v1/live", location.href);
    address.protocol = location.protocol === "https:" ? "wss:" : "ws:";
    address.hash = "";
    this.#on.state("connecting");
    try {
      this.#socket = new WebSocket(address, token ? ["fer", `fer.token.${token}`] : ["fer"]);
    } catch {
      // A token of other characters than a subprotocol may have.
      this.#on.state("refused");
      return;
    }
    this.#socket.onopen = () => this.#opened();
    this.#socket.onmessage = event => this.#answered(JSON.parse(event.data));
    this.#socket.onclose = () => this.#closed();
  }

  close() {
    clearTimeout(this.#timer);
    if (this.#socket) this.#socket.onopen = this.#socket.onmessage = this.#socket.onclose = null;
    this.#socket?.close();
    this.#socket = null;
    this.#frames.clear();
    this.#on.state("closed");
  }

  explain(wanted) {
    this.#explain = wanted;
    if (this.#socket?.readyState === WebSocket.OPEN) this.#socket.send(JSON.stringify({ explain: wanted }));
  }

  /** `frame` has the JPEG as `blob`; it comes back with its answer. */
  send(frame) {
    if (!this.ready) return;
    this.#socket.send(frame.blob);
    this.#frames.set(++this.#count, frame);
  }

  #opened() {
    this.#count = 0;
    this.#frames.clear();
    if (this.#explain) this.explain(true);
    this.#on.state("open");
  }

  #answered(answer) {
    const frame = this.#frames.get(answer.frame);
    // The service left out the frames before this one, because a newer one had come.
    for (const number of this.#frames.keys()) if (number <= answer.frame) this.#frames.delete(number);
    this.#wait = SHORTEST_WAIT;
    if (frame) this.#on.answer(answer, frame);
  }

  #closed() {
    this.#socket = null;
    this.#frames.clear();
    this.#on.state("closed", this.#wait);
    // Nobody looks at a hidden page; it opens the socket itself when it is seen again.
    this.#timer = setTimeout(() => document.hidden || this.open(), this.#wait);
    this.#wait = Math.min(2 * this.#wait, LONGEST_WAIT);
  }

  #forget() {
    for (const [number, frame] of this.#frames) {
      if (performance.now() - frame.grabbed < LOST_AFTER) continue;
      this.#frames.delete(number);
      this.#on.lost();
    }
  }
}
