"use strict";
// The explorer: every stored descent under the reader's sliders. One state; whatever is chosen, all is drawn anew.

const app = document.getElementById("explorer");
const objectives = JSON.parse(document.getElementById("descents").textContent).objectives;
const BLACK_ON = ["#56B4E9", "#E69F00", "#999999"]; // colours on which black is read better than white
const FRAME = 60; // milliseconds

const state = {
  objective: "",
  rule: "",
  at: {}, // of each rule, an index along each axis
  replicate: 0,
  target: 0,
  kept: [], // descents that stay in the pictures
  looks: Infinity, // how many of the chosen one are shown
};
const view = {}; // elements of the page that change
let timer = null;

const objective = () => objectives[state.objective];
const rule = () => objective().rules[state.rule];
const at = () => state.at[state.rule];
const chosen = () => ({ rule: rule(), place: ravel(at(), rule().shape), replicate: state.replicate });

/** Return the objective at the last step. */
function lastOf(one, place) {
  return one.curves[(place + 1) * one.steps.length - 1];
}

/** Return what the map shows: the cost to the chosen target; where there is none, the objective at the last step. */
function worthOf(one, place) {
  return one.cost.length ? one.cost[state.target][place] : lastOf(one, place);
}

/** Return the configuration that is worth most, and of those alike the one that ends lowest. */
function bestOf(one) {
  const known = (value) => (isNaN(value) ? Infinity : value);
  const ranks = Array.from(one.diverged, (_, place) => [worthOf(one, place), lastOf(one, place)].map(known));
  const before = (a, b) => (a[0] === b[0] ? a[1] < b[1] : a[0] < b[0]);
  return ranks.reduce((best, rank, place) => (before(rank, ranks[best]) ? place : best), 0);
}

/** Choose an objective: each rule begins at its best configuration. */
function chooseObjective(name) {
  Object.assign(state, { objective: name, at: {}, kept: [] });
  state.target = Math.max(0, objective().targets.length - 1);
  for (const [label, one] of Object.entries(objective().rules)) {
    state.at[label] = unravel(bestOf(one), one.shape);
  }
  build();
  chooseRule(Object.keys(objective().rules)[0]);
}

function chooseRule(label) {
  Object.assign(state, { rule: label, replicate: 0, looks: Infinity });
  setSliders();
  draw();
}

// ---- What the page is made of

function build() {
  view.path = objective().view ? canvas("path of the parameters over contours of the objective") : null;
  view.curve = canvas("objective against steps");
  view.map = canvas("the grid of hyperparameters; the sliders choose too");
  view.mapTitle = make("h3");
  view.sliders = make("div");
  view.says = make("p", { className: "says" });
  view.says.setAttribute("aria-live", "polite");
  const curve = [make("h3", { textContent: "objective J against steps" }), view.curve];
  const main = [...(view.path ? [view.path] : curve), actions(), view.says];
  const side = [view.sliders, view.mapTitle, view.map, ...(view.path ? curve : [])];
  const bench = make("div", { className: "bench" }, make("div", {}, ...main), make("div", {}, ...side));
  app.replaceChildren(choices(), bench);
  listenToMap();
}

function canvas(words) {
  const made = make("canvas");
  made.setAttribute("role", "img");
  made.setAttribute("aria-label", words);
  return made;
}

function choices() {
  const bar = make("div", { className: "choices" });
  const names = Object.keys(objectives);
  if (names.length > 1) {
    bar.append(chooser("objective", names.map((name) => [name, name]), state.objective, chooseObjective));
  }
  view.buttons = Object.entries(objective().rules).map(([label, one]) => {
    const button = make("button", { textContent: label, className: "rule" });
    button.style.setProperty("--c", one.color);
    button.style.setProperty("--on", BLACK_ON.includes(one.color) ? "#000" : "#fff");
    button.onclick = () => chooseRule(label);
    return button;
  });
  bar.append(...view.buttons);
  const targets = objective().targets.map((value, i) => [String(i), `J = ${shown(value)}`]);
  if (targets.length > 1) {
    const act = (place) => {
      state.target = Number(place);
      draw();
    };
    bar.append(chooser("target", targets, String(state.target), act));
  }
  return bar;
}

function chooser(label, options, selected, act) {
  const made = options.map(([value, text]) =>
    make("option", { value, textContent: text, selected: value === selected }),
  );
  const select = make("select", {}, ...made);
  select.setAttribute("aria-label", label);
  select.onchange = () => act(select.value);
  return make("label", {}, `${label} `, select);
}

function actions() {
  const keep = () => {
    state.kept.push(chosen());
    draw();
  };
  const clear = () => {
    state.kept = [];
    draw();
  };
  const buttons = [["▶ play", play], ["keep", keep], ["clear", clear]].map(([textContent, onclick]) =>
    make("button", { textContent, onclick }),
  );
  return make("div", { className: "choices" }, ...buttons);
}

function play() {
  clearInterval(timer);
  state.looks = 1;
  timer = setInterval(() => {
    state.looks += 1;
    if (state.looks >= rule().steps.length) {
      state.looks = Infinity;
      clearInterval(timer);
    }
    drawDescents();
  }, FRAME);
}

/** Make the sliders of the chosen rule, and of its start where paths are shown. */
function setSliders() {
  const one = rule();
  const sliders = one.axes.map((axis, i) =>
    slider(axis.name, axis.values.length, at()[i], (index) => shown(axis.values[index]), (index) => (at()[i] = index)),
  );
  if (one.paths && one.replicates > 1) {
    sliders.push(slider("start", one.replicates, state.replicate, String, (index) => (state.replicate = index)));
  }
  view.sliders.replaceChildren(...sliders);
}

function slider(name, count, value, text, act) {
  const output = make("output", { textContent: text(value) });
  const input = make("input", { type: "range", min: 0, max: count - 1, value });
  input.setAttribute("aria-label", name);
  input.style.setProperty("--accent", rule().color);
  input.oninput = () => {
    act(Number(input.value));
    output.textContent = text(Number(input.value));
    state.looks = Infinity;
    draw();
  };
  return make("label", { className: "knob" }, name, input, output);
}

function listenToMap() {
  let pressed = false;
  const press = (event) => {
    const { left, top } = view.map.getBoundingClientRect();
    const cell = view.cellAt(event.clientX - left, event.clientY - top);
    if (!cell) return;
    at().splice(0, Math.min(2, rule().axes.length), ...cell.slice(0, rule().axes.length));
    state.looks = Infinity;
    setSliders();
    draw();
  };
  view.map.onpointerdown = (event) => {
    pressed = true;
    press(event);
  };
  view.map.onpointermove = (event) => pressed && press(event);
  view.map.onpointerup = view.map.onpointerleave = () => (pressed = false);
}

// ---- What is shown of the state

function draw() {
  drawDescents();
  const one = rule();
  view.cellAt = drawMap(view.map, one, at(), (place) => worthOf(one, place));
  const what = one.cost.length ? `gradient evaluations to ${target()}` : "J at the last step";
  const key = make("small", { textContent: "★ least, × diverged, pale: not reached" });
  view.mapTitle.replaceChildren(`${what} `, key);
  view.buttons.forEach((button) => button.setAttribute("aria-pressed", button.textContent === state.rule));
  view.says.replaceChildren(make("b", { textContent: state.rule }), `, ${told()}.`);
}

function drawDescents() {
  const { kept, looks } = state;
  if (view.path) drawPath(view.path, objective(), chosen(), kept, looks);
  drawCurve(view.curve, objective(), objective().targets[state.target], chosen(), kept, looks);
}

function target() {
  return `J = ${shown(objective().targets[state.target])}`;
}

/** Say which configuration is chosen, whether it reaches the target, and where it ends. */
function told() {
  const one = rule();
  const { place } = chosen();
  const settings = one.axes.map((axis, i) => `${axis.name} ${shown(axis.values[at()[i]])}`).join(", ");
  const parts = [];
  if (one.cost.length) {
    const cost = one.cost[state.target][place];
    parts.push(isFinite(cost) ? `${target()} after ${shown(cost)} gradient evaluations` : `${target()} is not reached`);
  }
  if (one.diverged[place] > 0) parts.push(`${Math.round(100 * one.diverged[place])} % of the starts diverge`);
  const last = (place + 1) * one.steps.length - 1;
  const [value, error] = [one.curves[last], one.errors[last]];
  const spread = isFinite(error) && error > 0 ? ` ± ${shown(error)}` : "";
  const end = `J = ${shown(value)}${spread} at step ${one.steps[one.steps.length - 1]}`;
  parts.push(isFinite(value) ? end : "J is infinite at the last step");
  return `${settings}: ${parts.join("; ")}`;
}

async function start() {
  const rules = Object.values(objectives).flatMap((each) => Object.values(each.rules));
  await Promise.all(rules.map(unpackRule));
  chooseObjective(Object.keys(objectives)[0]);
  window.addEventListener("resize", draw);
  app.dataset.ready = "yes";
}

start();
