// The time of the last requests: a small drawing, the same as a table, and one sentence.

import { byId, count, counted, el, ms, svg } from "./dom.js";

const MOST = 30;
const WIDTH = 320;
const HEIGHT = 132;
const LEFT = 38;
const BOTTOM = 6;
const TOP = 10;

export class Chart {
  constructor() {
    this.requests = [];
    this.number = 0;
  }

  /** @param {{seen: number, engine: number, items: number}} request times in ms */
  add(request) {
    this.number += 1;
    this.requests = [...this.requests, { ...request, number: this.number }].slice(-MOST);
    byId("chart").replaceChildren(this.#drawing(), legend());
    byId("chart-rows").replaceChildren(...[...this.requests].reverse().map(tableRow));
  }

  #drawing() {
    const most = ceiling(Math.max(...this.requests.map(({ seen }) => seen)));
    const y = (value) => HEIGHT - BOTTOM - (value / most) * (HEIGHT - BOTTOM - TOP);
    const slot = (WIDTH - LEFT) / MOST;
    const lines = [0, most / 2, most].flatMap((value) => [
      svg("line", { class: "grid", x1: LEFT, x2: WIDTH, y1: y(value), y2: y(value) }),
      svg("text", { class: "tick", x: LEFT - 6, y: y(value) + 3.5, "text-anchor": "end" }, count(value)),
    ]);
    const bars = this.requests.flatMap(({ seen, engine }, index) => {
      const x = LEFT + (index + 0.15) * slot;
      const [width, own] = [slot * 0.7, Math.min(engine, seen)];
      return [
        svg("rect", { class: "rest", x, width, y: y(seen), height: y(own) - y(seen) }),
        svg("rect", { class: "engine", x, width, y: y(own), height: y(0) - y(own) }),
      ];
    });
    const picture = { role: "img", "aria-label": this.#sentence(), viewBox: `0 0 ${WIDTH} ${HEIGHT}` };
    return svg("svg", picture, ...lines, ...bars);
  }

  #sentence() {
    const [seen, engine] = ["seen", "engine"].map((name) => median(this.requests.map((request) => request[name])));
    return (
      `Time of the last ${counted(this.requests.length, "request")}: median ${ms(seen)} milliseconds until shown, ` +
      `of these ${ms(engine)} in the engine. The table below has every value.`
    );
  }
}

function legend() {
  const entries = { engine: "engine", rest: "network and page" };
  const keys = Object.entries(entries).map(([name, text]) => el("span", { class: `key ${name}` }, text));
  return el("p", { class: "legend", "aria-hidden": "true" }, ...keys);
}

function tableRow({ number, items, seen, engine }) {
  const cells = [count(items), ms(seen), ms(engine)].map((text) => el("td", {}, text));
  return el("tr", {}, el("th", { scope: "row" }, count(number)), ...cells);
}

/** The next of 10, 20, 50, 100, 200, 500, … so that the scale rarely changes. */
function ceiling(value) {
  const power = 10 ** Math.floor(Math.log10(Math.max(value, 10)));
  return [1, 2, 5, 10].map((step) => step * power).find((step) => step >= value) ?? 10 * power;
}

function median(values) {
  const sorted = [...values].sort((one, other) => one - other);
  const middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}
