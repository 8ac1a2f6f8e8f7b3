// The panel beside the picture: a card a face, with bars of its probabilities and the line of its last minute.

import { colorsOf, numberOf, percent } from "./draw.js";

const MINUTE = 60_000;
const HISTORY_STEP = 100;
// A line is broken where nothing was known for longer than this.
const GAP = 1500;
// Of a face seen for a shorter time nothing is left when it is gone.
const GLIMPSE = 1000;

const make = (tag, className, ...children) => {
  const made = document.createElement(tag);
  made.className = className;
  made.append(...children);
  return made;
};

/** Sets a text only where it changed: screen readers and the browser's layout are spared the rest. */
const setText = (element, text) => {
  if (element.textContent !== text) element.textContent = text;
};

export class Faces {
  #cards = new Map();
  #list;
  labels = [];
  colors = new Map();

  constructor(list) {
    this.#list = list;
  }

  setLabels(labels) {
    if (labels.join("\n") === this.labels.join("\n")) return;
    this.clear();
    this.labels = labels;
    this.colors = colorsOf(labels);
  }

  clear() {
    this.#cards.clear();
    this.#list.replaceChildren();
  }

  /** A new connection counts its faces anew: the cards that are here belong to faces that are gone. */
  renew() {
    const cards = [...this.#cards.values()];
    this.#cards.clear();
    for (const card of cards) {
      card.here = false;
      this.#cards.set(card, card);
    }
  }

  /** Takes an answer's faces. `live` faces have a last minute, those of a picture have none. */
  take(faces, live) {
    const now = performance.now();
    if (faces.length && !this.labels.length) this.setLabels(Object.keys(faces[0].probabilities));
    for (const card of this.#cards.values()) card.here = false;
    faces.forEach((face, i) => {
      const number = numberOf(face, i);
      const known = this.#cards.get(number);
      const card = known ?? this.#add(number, live);
      card.take(face, now);
      if (!known) card.show(now);
    });
  }

  #add(number, live) {
    const card = new Card(number, this.labels, this.colors, live);
    this.#list.append(card.element);
    this.#cards.set(number, card);
    return card;
  }

  /** Brings the page up to date; called a few times a second, however many answers come. */
  show() {
    const now = performance.now();
    for (const [key, card] of this.#cards) {
      if (card.isOver(now)) {
        card.element.remove();
        this.#cards.delete(key);
      } else {
        card.show(now);
      }
    }
  }

  /** What a screen reader says. */
  summary() {
    const here = [...this.#cards.values()].filter(card => card.here);
    if (here.length === 0) return "No face.";
    if (here.length === 1) return `One face: ${here[0].face.label}.`;
    return `${here.length} faces: ${here.map(card => `${card.number} ${card.face.label}`).join(", ")}.`;
  }

  get isEmpty() {
    return this.#cards.size === 0;
  }
}

class Card {
  #history = [];
  #labels;
  #colors;
  #live;
  #seen = 0;
  #first = performance.now();

  constructor(number, labels, colors, live) {
    Object.assign(this, { number, here: true, face: null });
    this.#labels = labels;
    this.#colors = colors;
    this.#live = live;
    this.swatch = make("span", "swatch");
    this.label = make("b", "label");
    this.value = make("span", "value");
    this.gone = make("span", "gone faint");
    this.rows = labels.map(label => this.#row(label));
    this.bars = make("ul", "bars", ...this.rows.map(row => row.element));
    this.chart = make("canvas", "minute");
    this.chart.setAttribute("role", "img");
    this.chart.hidden = !live;
    const title = make("h3", "", this.swatch, make("span", "faint", `Face ${number}`), this.label, this.value, this.gone);
    this.element = make("li", "face", title, this.bars, this.chart);
    this.element.dataset.id = number;
  }

  #row(label) {
    const fill = make("i", "");
    const value = make("span", "value");
    const element = make("li", "", make("span", "name", label), make("span", "track", fill), value);
    element.style.setProperty("--color", this.#colors.get(label));
    return { label, fill, value, element };
  }

  take(face, now) {
    this.here = true;
    this.face = face;
    this.#seen = now;
    const last = this.#history.at(-1);
    if (!this.#live || (last && now - last.at < HISTORY_STEP)) return;
    const values = this.#labels.map(label => face.probabilities[label] ?? 0);
    this.#history.push({ at: now, values, winner: this.#labels.indexOf(face.label) });
    while (now - this.#history[0].at > MINUTE) this.#history.shift();
  }

  isOver(now) {
    if (this.here) return false;
    return !this.#live || now - this.#seen > MINUTE || this.#seen - this.#first < GLIMPSE;
  }

  show(now) {
    const { face } = this;
    this.element.dataset.label = face.label;
    this.element.classList.toggle("away", !this.here);
    this.bars.hidden = !this.here;
    this.swatch.style.background = this.#colors.get(face.label);
    setText(this.label, face.label);
    setText(this.value, this.here ? percent(face.probabilities[face.label]) : "");
    setText(this.gone, this.here ? "" : `gone for ${Math.round((now - this.#seen) / 1000)} s`);
    for (const { label, fill, value, element } of this.rows) {
      const part = face.probabilities[label] ?? 0;
      element.classList.toggle("first", label === face.label);
      fill.style.transform = `scaleX(${part.toFixed(3)})`;
      setText(value, percent(part));
    }
    if (this.#live) this.#draw(now);
  }

  #draw(now) {
    const frame = minuteFrame(this.chart);
    if (!frame) return;
    this.chart.setAttribute("aria-label", `The last minute of face ${this.number}: ${this.#mostly()}`);
    for (const run of this.#runs(now)) this.#band(frame, run);
    // The winner is drawn last, over the others.
    const order = this.#labels.map((_, i) => i).sort((a, b) => this.#isFirst(a) - this.#isFirst(b));
    for (const i of order) this.#line(frame, i, now);
  }

  #isFirst(i) {
    return this.#labels[i] === this.face.label;
  }

  #line({ context, x, y }, i, now) {
    context.strokeStyle = this.#colors.get(this.#labels[i]);
    context.lineWidth = this.#isFirst(i) ? 2.25 : 1.25;
    context.lineJoin = "round";
    context.beginPath();
    let before = -Infinity;
    for (const { at, values } of this.#history) {
      if (now - at > MINUTE) continue;
      context[at - before > GAP ? "moveTo" : "lineTo"](x(now - at), y(values[i]));
      before = at;
    }
    context.stroke();
  }

  /** Which label won from when to when, so many milliseconds ago. */
  #runs(now) {
    const runs = [];
    for (const { at, winner } of this.#history) {
      if (now - at > MINUTE) continue;
      const last = runs.at(-1);
      const goesOn = last && last.to - (now - at) < GAP;
      if (goesOn) last.to = now - at;
      if (!goesOn || last.winner !== winner) runs.push({ winner, from: now - at, to: now - at });
    }
    return runs;
  }

  /** The winner's colour over the lines, and its name where there is room. */
  #band({ context, x, top, ink }, { winner, from, to }) {
    const name = this.#labels[winner];
    const [left, width] = [x(from), x(to) - x(from)];
    context.fillStyle = this.#colors.get(name);
    context.fillRect(left, top, Math.max(width, 1), 4);
    context.fillStyle = ink;
    if (context.measureText(name).width < width) context.fillText(name, left, top - 4);
  }

  /** The label that won most often in the last minute. */
  #mostly() {
    const wins = this.#labels.map(() => 0);
    for (const { winner } of this.#history) wins[winner]++;
    return `mostly ${this.#labels[wins.indexOf(Math.max(...wins))]}`;
  }
}

/** An empty chart of 60 seconds by 0 to 100 %, and where a point of it lies. */
function minuteFrame(canvas) {
  const [width, height] = [canvas.clientWidth, canvas.clientHeight];
  if (!width || !height) return null;
  const ratio = devicePixelRatio || 1;
  [canvas.width, canvas.height] = [Math.round(width * ratio), Math.round(height * ratio)];
  const context = canvas.getContext("2d");
  context.scale(ratio, ratio);
  const style = getComputedStyle(canvas);
  const [left, right, top, bottom] = [1, width - 1, 26, height - 16];
  const x = ago => right - (ago / MINUTE) * (right - left);
  const y = part => bottom - part * (bottom - top);
  context.strokeStyle = style.getPropertyValue("--line");
  for (const part of [0, 0.5, 1]) {
    context.beginPath();
    context.moveTo(left, y(part));
    context.lineTo(right, y(part));
    context.stroke();
  }
  context.fillStyle = style.getPropertyValue("--faint");
  context.font = "11px system-ui, sans-serif";
  context.fillText("60 s ago", left, height - 3);
  context.textAlign = "right";
  context.fillText("now", right, height - 3);
  context.textAlign = "left";
  return { context, x, y, top: 16, ink: style.color };
}
