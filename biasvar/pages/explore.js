"use strict";
// The explorer: plain canvas, no library. State: objective, rule, an index for each axis, a replicate, kept paths.
(async () => {
  const app = document.getElementById("explorer");
  const D = JSON.parse(document.getElementById("descents").textContent);
  const CIVIDIS = ["#ffea46", "#e1cc55", "#bcae6c", "#948e77", "#6c6e72", "#434e6c", "#123570", "#00204d"]; // bright: little

  // Inflate, bring the four bytes of each number together, and undo the differences along each row.
  async function unpack(text, length) {
    const bytes = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
    const planes = new Uint8Array(await new Response(stream).arrayBuffer());
    const count = planes.length / 4, out = new Uint8Array(planes.length);
    for (let i = 0; i < count; i++) for (let b = 0; b < 4; b++) out[4 * i + b] = planes[b * count + i];
    const bits = new Int32Array(out.buffer), row = length || bits.length;
    for (let i = 0; i < bits.length; i++) if (i % row) bits[i] = (bits[i] + bits[i - 1]) | 0;
    return new Float32Array(out.buffer);
  }
  for (const objective of Object.values(D.objectives))
    for (const rule of Object.values(objective.rules)) {
      for (const name of ["curves", "errors", "paths"]) if (rule[name]) rule[name] = await unpack(rule[name], rule.steps.length);
      rule.diverged = await unpack(rule.diverged);
      rule.cost = await Promise.all((rule.cost || []).map((text) => unpack(text)));
    }

  const make = (tag, props = {}, ...parts) => { const e = Object.assign(document.createElement(tag), props); e.append(...parts); return e; };
  const unravel = (i, shape) => { const at = []; for (let d = shape.length - 1; d >= 0; d--) { at[d] = i % shape[d]; i = Math.floor(i / shape[d]); } return at; };
  const ravel = (at, shape) => at.reduce((i, a, d) => i * shape[d] + a, 0);
  const show = (v) => (v === 0 || (Math.abs(v) >= 1e-3 && Math.abs(v) < 1e5) ? String(+v.toPrecision(4)) : (+v.toPrecision(3)).toExponential()).replace(/-/g, "−").replace("e+", "e");

  const state = { objective: Object.keys(D.objectives)[0], rule: "", at: {}, replicate: 0, target: 0, ghosts: [], shown: Infinity };
  const objective = () => D.objectives[state.objective];
  const rule = () => objective().rules[state.rule];
  const at = () => state.at[state.rule];
  const cell = () => ravel(at(), rule().shape);
  // What the map shows: the cost to the chosen target, or where there is none the objective at the last step.
  const worth = (r, c) => (r.cost.length ? r.cost[state.target][c] : r.curves[(c + 1) * r.steps.length - 1]);

  function choose(name) { // an objective: each rule begins at its best configuration
    state.objective = name; state.ghosts = []; state.at = {}; state.target = Math.max(0, objective().targets.length - 1);
    for (const [label, r] of Object.entries(objective().rules)) {
      let win = 0;
      for (let c = 1; c < r.diverged.length; c++) if (worth(r, c) < worth(r, win) || isNaN(worth(r, win))) win = c;
      state.at[label] = unravel(win, r.shape);
    }
    state.rule = Object.keys(objective().rules)[0];
    build();
  }

  let canvases, says, knobs, mapTitle, timer = null;
  function chooser(label, options, chosen, act) {
    const select = make("select", {}, ...options.map(([value, text]) => make("option", { value, textContent: text, selected: value === chosen })));
    select.setAttribute("aria-label", label);
    select.onchange = () => act(select.value);
    return make("label", {}, label + " ", select);
  }
  function build() {
    const o = objective(), bar = make("div", { className: "choices" });
    if (Object.keys(D.objectives).length > 1) bar.append(chooser("objective", Object.keys(D.objectives).map((n) => [n, n]), state.objective, choose));
    for (const [label, r] of Object.entries(o.rules)) {
      const b = make("button", { textContent: label, className: "rule" });
      b.style.setProperty("--c", r.color);
      b.style.setProperty("--on", ["#56B4E9", "#E69F00", "#999999"].includes(r.color) ? "#000" : "#fff");
      b.onclick = () => { state.rule = label; state.replicate = 0; state.shown = Infinity; turn(); draw(); };
      bar.append(b); r.button = b;
    }
    if (o.targets.length > 1) bar.append(chooser("target", o.targets.map((v, i) => [String(i), "J = " + show(v)]), String(state.target), (v) => { state.target = +v; draw(); }));
    const canvas = (words) => { const c = make("canvas"); c.setAttribute("role", "img"); c.setAttribute("aria-label", words); return c; };
    canvases = { path: o.view ? canvas("path of the parameters over contours of the objective") : null, curve: canvas("objective against steps"), map: canvas("the grid of hyperparameters; the sliders choose too") };
    const play = make("button", { textContent: "▶ play" }), keep = make("button", { textContent: "keep" }), clear = make("button", { textContent: "clear" });
    play.onclick = () => {
      clearInterval(timer); state.shown = 1;
      timer = setInterval(() => { if (++state.shown >= rule().steps.length) { state.shown = Infinity; clearInterval(timer); } drawPath(); drawCurve(); }, 60);
    };
    keep.onclick = () => { state.ghosts.push({ r: rule(), c: cell(), replicate: state.replicate }); draw(); };
    clear.onclick = () => { state.ghosts = []; draw(); };
    says = make("p", { className: "says" }); says.setAttribute("aria-live", "polite");
    knobs = make("div"); mapTitle = make("h3");
    const acts = make("div", { className: "choices" }, play, keep, clear), heading = make("h3", { textContent: "objective J against steps" });
    const main = canvases.path ? [canvases.path, acts, says] : [heading, canvases.curve, acts, says];
    const side = [knobs, mapTitle, canvases.map, ...(canvases.path ? [heading, canvases.curve] : [])];
    app.replaceChildren(bar, make("div", { className: "bench" }, make("div", {}, ...main), make("div", {}, ...side)));
    let down = false;
    const press = (e) => { const b = canvases.map.getBoundingClientRect(); hit(e.clientX - b.left, e.clientY - b.top); };
    canvases.map.onpointerdown = (e) => { down = true; press(e); };
    canvases.map.onpointermove = (e) => down && press(e);
    canvases.map.onpointerup = canvases.map.onpointerleave = () => (down = false);
    turn(); draw();
  }
  function knob(name, count, value, text, act) {
    const out = make("output", { textContent: text(value) });
    const slider = make("input", { type: "range", min: 0, max: count - 1, value });
    slider.setAttribute("aria-label", name); slider.style.setProperty("--accent", rule().color);
    slider.oninput = () => { act(+slider.value); out.textContent = text(+slider.value); state.shown = Infinity; draw(); };
    return make("label", { className: "knob" }, name, slider, out);
  }
  function turn() { // the sliders of the chosen rule
    const r = rule(), shown = r.axes.map((axis, d) => knob(axis.name, axis.values.length, at()[d], (i) => show(axis.values[i]), (i) => (at()[d] = i)));
    if (r.paths && r.replicates > 1) shown.push(knob("start", r.replicates, state.replicate, (i) => String(i), (i) => (state.replicate = i)));
    knobs.replaceChildren(...shown);
  }
  function sized(canvas, ratio) {
    const w = canvas.clientWidth, h = Math.round(w * ratio), q = window.devicePixelRatio || 1;
    canvas.style.height = h + "px"; canvas.width = w * q; canvas.height = h * q;
    const c = canvas.getContext("2d"); c.scale(q, q); c.font = "12px system-ui, sans-serif"; c.lineJoin = "round"; return [c, w, h];
  }
  const point = (r, c, replicate, k) => { const N = r.steps.length, i = (c * r.replicates + replicate) * 2 * N + k; return [r.paths[i], r.paths[i + N]]; };

  function drawPath() {
    if (!canvases.path) return;
    const o = objective(), [X0, X1, Y0, Y1] = o.view, ratio = Math.min(1.1, Math.max(0.35, (Y1 - Y0) / (X1 - X0)));
    const [c, w, h] = sized(canvases.path, ratio), px = (x) => ((x - X0) / (X1 - X0)) * w, py = (y) => h - ((y - Y0) / (Y1 - Y0)) * h;
    c.fillStyle = "#f7f8fa"; c.fillRect(0, 0, w, h); c.strokeStyle = "#bcc3ce"; c.lineWidth = 1;
    for (const line of o.contours) { c.beginPath(); line.forEach(([x, y], i) => (i ? c.lineTo(px(x), py(y)) : c.moveTo(px(x), py(y)))); c.stroke(); }
    const one = (r, index, replicate, upTo, ghost) => {
      if (!r.paths) return null;
      const pts = [];
      for (let k = 0; k < Math.min(upTo, r.steps.length); k++) { const [x, y] = point(r, index, replicate, k); if (!isFinite(x) || !isFinite(y)) break; pts.push([px(x), py(y)]); }
      const trace = () => { c.beginPath(); pts.forEach(([x, y], i) => (i ? c.lineTo(x, y) : c.moveTo(x, y))); c.stroke(); };
      c.globalAlpha = ghost ? 0.45 : 1; if (!ghost) { c.strokeStyle = "#fff"; c.lineWidth = 5; trace(); }
      c.strokeStyle = r.color; c.lineWidth = 2; c.setLineDash(ghost ? [5, 4] : []); trace(); c.setLineDash([]);
      if (!ghost) { c.fillStyle = r.color; pts.forEach(([x, y]) => { c.beginPath(); c.arc(x, y, 3, 0, 7); c.fill(); }); }
      c.globalAlpha = 1; return pts;
    };
    for (const g of state.ghosts) one(g.r, g.c, g.replicate, Infinity, true);
    const pts = one(rule(), cell(), state.replicate, state.shown, false);
    c.fillStyle = "#333"; c.textAlign = "left";
    if (pts && pts.length) {
      const [sx, sy] = pts[0], [ex, ey] = pts[pts.length - 1];
      c.strokeStyle = "#000"; c.fillStyle = "#fff"; c.lineWidth = 2; c.beginPath(); c.arc(sx, sy, 6, 0, 7); c.fill(); c.stroke();
      c.fillStyle = "#333"; c.fillText("first look", sx + 10, sy - 8);
      if (state.shown !== Infinity) { c.fillStyle = rule().color; c.strokeStyle = "#fff"; c.beginPath(); c.arc(ex, ey, 8, 0, 7); c.fill(); c.stroke(); }
    }
    if (o.minimizer) { const mx = px(o.minimizer[0]), my = py(o.minimizer[1]); c.strokeStyle = "#000"; c.lineWidth = 3; c.beginPath(); c.moveTo(mx - 8, my); c.lineTo(mx + 8, my); c.moveTo(mx, my - 8); c.lineTo(mx, my + 8); c.stroke(); c.fillStyle = "#333"; c.fillText("minimum", mx + 10, my + 18); }
    c.fillText("θ₁ →", w - 36, h - 8); c.save(); c.translate(14, 36); c.rotate(-Math.PI / 2); c.fillText("θ₂ →", 0, 0); c.restore();
  }

  // Steps are logarithmic from ten on, and linear before, so that step 0 is where it is.
  const bent = (s) => (s <= 10 ? s / 10 : 1 + Math.log10(s / 10) * 2.3);
  function drawCurve() {
    const o = objective(), [c, w, h] = sized(canvases.curve, 0.56), L = 58, B = 34, R = 16, least = o.minimum ?? 0;
    const height = (r, i) => r.curves[i] - least; // J over its minimum
    const all = Object.values(o.rules), last = Math.max(...all.map((r) => r.steps[r.steps.length - 1]));
    let top = -Infinity, low = Infinity;
    for (const r of all) for (let i = 0; i < r.curves.length; i++) { const v = height(r, i); if (v > 0 && isFinite(v)) { if (i % r.steps.length === 0) top = Math.max(top, v); low = Math.min(low, v); } }
    top = Math.ceil(Math.log10(top)) || 0; low = Math.max(Math.floor(Math.log10(low)) || -1, top - 16);
    const px = (s) => L + (bent(s) / bent(last)) * (w - L - R), py = (v) => 8 + ((top - Math.max(low, Math.min(top, Math.log10(v)))) / Math.max(1, top - low)) * (h - B - 8);
    c.strokeStyle = "#e3e6eb"; c.fillStyle = "#5b6474"; c.textAlign = "right"; const every = Math.max(1, Math.ceil((top - low) / 7));
    for (let v = top; v >= low; v -= every) { const y = py(10 ** v); c.beginPath(); c.moveTo(L, y); c.lineTo(w - R, y); c.stroke(); c.fillText("1e" + String(v).replace("-", "−"), L - 6, y + 4); }
    c.textAlign = "center"; for (const s of [0, 5, 10, 100, 1000, 10000, 100000]) if (s <= last) c.fillText(s, px(s), h - B + 16);
    c.fillText(o.minimum === null ? "steps" : "steps; J over its minimum", (L + w) / 2, h - 4);
    if (o.targets.length && o.targets[state.target] > least) { const y = py(o.targets[state.target] - least); c.strokeStyle = "#777"; c.setLineDash([2, 3]); c.beginPath(); c.moveTo(L, y); c.lineTo(w - R, y); c.stroke(); c.setLineDash([]); c.textAlign = "right"; c.fillText("target", w - R - 2, y - 4); }
    const one = (r, index, upTo, ghost) => {
      c.beginPath(); let on = false;
      for (let k = 0; k < Math.min(upTo, r.steps.length); k++) { const v = height(r, index * r.steps.length + k); if (!isFinite(v) || v <= 0) break; on ? c.lineTo(px(r.steps[k]), py(v)) : c.moveTo(px(r.steps[k]), py(v)); on = true; }
      c.globalAlpha = ghost ? 0.5 : 1; c.setLineDash(ghost ? [5, 4] : []); c.strokeStyle = r.color; c.lineWidth = ghost ? 1.5 : 2.5; c.stroke(); c.setLineDash([]); c.globalAlpha = 1;
    };
    for (const g of state.ghosts) one(g.r, g.c, Infinity, true);
    one(rule(), cell(), state.shown, false);
  }

  let hit = () => {};
  function drawMap() { // columns: first axis; rows: second; further axes stand where their sliders are
    const r = rule(), here = at(), A = r.axes[0].values, Q = r.axes[1] ? r.axes[1].values : [null], one = Q[0] === null;
    const [c, w, h] = sized(canvases.map, one ? 0.34 : 0.62), L = one ? 30 : 64, B = 34, K = 96, cw = (w - L - K) / A.length, ch = (h - B - 6) / Q.length;
    const index = (i, j) => ravel([i, j, ...here.slice(2)].slice(0, r.shape.length), r.shape);
    const known = []; Q.forEach((_, j) => A.forEach((_, i) => { const v = worth(r, index(i, j)); if (isFinite(v)) known.push(v); }));
    const floor = Math.min(...known), shift = floor > 0 ? 0 : 1e-12 - floor, lo = Math.log(floor + shift), hi = Math.log(Math.max(...known) + shift);
    const shade = (v) => CIVIDIS[Math.min(7, Math.max(0, Math.floor((8 * (Math.log(v + shift) - lo)) / Math.max(hi - lo, 1e-9))))];
    Q.forEach((_, j) => A.forEach((_, i) => {
      const k = index(i, j), v = worth(r, k), x = L + i * cw, y = 6 + (Q.length - 1 - j) * ch, lost = r.diverged[k] > 0.5;
      c.fillStyle = isFinite(v) && !(lost && !r.cost.length) ? shade(v) : lost ? "#fff" : "#eef0f3"; c.fillRect(x, y, cw + 0.5, ch + 0.5);
      if (lost) { c.strokeStyle = "#9aa2ae"; c.lineWidth = 1; c.beginPath(); c.moveTo(x + cw * 0.25, y + ch * 0.3); c.lineTo(x + cw * 0.75, y + ch * 0.7); c.moveTo(x + cw * 0.75, y + ch * 0.3); c.lineTo(x + cw * 0.25, y + ch * 0.7); c.stroke(); }
      if (v === floor) { c.fillStyle = "#000"; c.textAlign = "center"; c.font = "15px system-ui"; c.fillText("★", x + cw / 2, y + ch / 2 + 5); c.font = "12px system-ui, sans-serif"; }
    }));
    const x = L + here[0] * cw, y = 6 + (Q.length - 1 - (one ? 0 : here[1])) * ch;
    c.strokeStyle = "#fff"; c.lineWidth = 5; c.strokeRect(x, y, cw, ch); c.strokeStyle = "#d00000"; c.lineWidth = 2.5; c.strokeRect(x, y, cw, ch);
    c.fillStyle = "#5b6474"; c.textAlign = "center"; const step = Math.max(1, Math.ceil(A.length / 3));
    A.forEach((v, i) => { if (i % step === 0) c.fillText(show(v), L + (i + 0.5) * cw, h - B + 16); }); c.fillText(r.axes[0].name, L + (w - L - K) / 2, h - 3);
    if (!one) { c.textAlign = "right"; const rows = Math.max(1, Math.ceil(Q.length / 7)); Q.forEach((v, j) => { if (j % rows === 0) c.fillText(show(v), L - 5, 6 + (Q.length - 0.5 - j) * ch + 4); }); c.save(); c.translate(12, 6 + (h - B) / 2); c.rotate(-Math.PI / 2); c.textAlign = "center"; c.fillText(r.axes[1].name, 0, 0); c.restore(); }
    const kx = w - K + 12, kh = Math.min(h - B - 6, 110); for (let i = 0; i < 8; i++) { c.fillStyle = CIVIDIS[i]; c.fillRect(kx, 6 + (i * kh) / 8, 12, kh / 8 + 0.5); }
    c.fillStyle = "#5b6474"; c.textAlign = "left"; if (known.length) { c.fillText(show(floor), kx + 17, 16); c.fillText(show(Math.max(...known)), kx + 17, 6 + kh); }
    hit = (mx, my) => { const i = Math.floor((mx - L) / cw), j = Q.length - 1 - Math.floor((my - 6) / ch); if (i < 0 || j < 0 || i >= A.length || j >= Q.length) return; here[0] = i; if (!one) here[1] = j; state.shown = Infinity; turn(); draw(); };
    const what = r.cost.length ? `gradient evaluations to J = ${show(objective().targets[state.target])}` : "J at the last step";
    mapTitle.replaceChildren(what + " ", make("small", { textContent: "★ least, × diverged, pale: not reached" }));
  }
  function speak() {
    const r = rule(), k = cell(), end = (k + 1) * r.steps.length - 1, J = r.curves[end], error = r.errors[end];
    const words = r.axes.map((axis, d) => `${axis.name} ${show(axis.values[at()[d]])}`).join(", ");
    const cost = r.cost.length ? r.cost[state.target][k] : NaN, goal = r.cost.length ? `J = ${show(objective().targets[state.target])}` : "";
    const reached = !r.cost.length ? "" : isFinite(cost) ? `${goal} after ${show(cost)} gradient evaluations; ` : `${goal} is not reached; `;
    const lost = r.diverged[k] > 0 ? `${Math.round(100 * r.diverged[k])} % of the starts diverge; ` : "";
    const value = isFinite(J) ? `J = ${show(J)}${isFinite(error) && error > 0 ? ` ± ${show(error)}` : ""} at step ${r.steps[r.steps.length - 1]}` : "J is infinite at the last step";
    says.replaceChildren(make("b", { textContent: state.rule }), `, ${words}: ${reached}${lost}${value}.`);
    for (const [label, other] of Object.entries(objective().rules)) other.button.setAttribute("aria-pressed", label === state.rule);
  }
  function draw() { drawPath(); drawCurve(); drawMap(); speak(); }
  window.addEventListener("resize", draw);
  choose(state.objective);
  app.dataset.ready = "yes";
})();
