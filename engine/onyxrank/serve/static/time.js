// Where the time of a request went: until shown, in the engine, and the engine's stages.

import { Chart } from "./chart.js";
import { byId, el, ms } from "./dom.js";

const STAGES = {
  tokenize: "reading texts",
  queue: "waiting",
  history: "history",
  batch: "batching",
  run: "items",
  rank: "sorting",
};
const chart = new Chart();

/** @param {{seen: number, engine: number, items: number, stages: Record<string, number>}} request all in ms */
export function showTime(request) {
  byId("time-empty").hidden = true;
  byId("time-now").hidden = false;
  byId("seen-ms").replaceChildren(ms(request.seen), el("small", {}, " ms"));
  byId("engine-ms").replaceChildren(ms(request.engine), el("small", {}, " ms"));
  const stages = Object.entries(STAGES).map(([name, label]) => ({ name, label, value: request.stages[name] ?? 0 }));
  byId("stages-bar").replaceChildren(
    ...stages.map(({ name, value }) => {
      const part = el("span", { class: `stage ${name}` });
      part.style.setProperty("flex-grow", value);
      return part;
    }),
  );
  byId("stages").replaceChildren(
    ...stages.map(({ name, label, value }) =>
      el("div", {}, el("dt", { class: `key ${name}` }, label), el("dd", {}, `${ms(value)} ms`)),
    ),
  );
  chart.add(request);
}
