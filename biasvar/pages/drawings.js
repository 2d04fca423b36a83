"use strict";
// The explorer's pictures, on plain canvas: a path over contours, curves against steps, a map of the grid.
// A descent is {rule, place, replicate}: one configuration of one rule, from one start.

const CIVIDIS = ["#ffea46", "#e1cc55", "#bcae6c", "#948e77", "#6c6e72", "#434e6c", "#123570", "#00204d"]; // bright: little
const WORDS = "#5b6474";
const FAINT = "#e3e6eb";
const HERE = "#d00000";

/** Fit a canvas to its place in the page; return its pen, width and height. */
function sized(canvas, ratio) {
  const width = canvas.clientWidth;
  const height = Math.round(width * ratio);
  const density = window.devicePixelRatio || 1;
  canvas.style.height = `${height}px`;
  canvas.width = width * density;
  canvas.height = height * density;
  const pen = canvas.getContext("2d");
  pen.scale(density, density);
  pen.font = "12px system-ui, sans-serif";
  pen.lineJoin = "round";
  return [pen, width, height];
}

function trace(pen, points) {
  pen.beginPath();
  points.forEach(([x, y], i) => (i ? pen.lineTo(x, y) : pen.moveTo(x, y)));
  pen.stroke();
}

function dot(pen, [x, y], radius) {
  pen.beginPath();
  pen.arc(x, y, radius, 0, 2 * Math.PI);
  pen.fill();
}

function write(pen, words, x, y, align = "left", color = WORDS) {
  pen.fillStyle = color;
  pen.textAlign = align;
  pen.fillText(words, x, y);
}

function writeUpwards(pen, words, x, y, align) {
  pen.save();
  pen.translate(x, y);
  pen.rotate(-Math.PI / 2);
  write(pen, words, 0, 0, align);
  pen.restore();
}

// ---- The path of two parameters

/** Draw descents over the contours of the objective; of the chosen one as many looks as are shown. */
function drawPath(canvas, objective, chosen, kept, looks) {
  const [left, right, bottom, top] = objective.view;
  const ratio = Math.min(1.1, Math.max(0.35, (top - bottom) / (right - left)));
  const [pen, width, height] = sized(canvas, ratio);
  const place = ([x, y]) => [((x - left) / (right - left)) * width, height - ((y - bottom) / (top - bottom)) * height];
  pen.fillStyle = "#f7f8fa";
  pen.fillRect(0, 0, width, height);
  pen.strokeStyle = "#bcc3ce";
  objective.contours.forEach((line) => trace(pen, line.map(place)));
  kept.forEach((descent) => drawGhost(pen, descent.rule, pathOf(descent, Infinity).map(place)));
  const points = pathOf(chosen, looks).map(place);
  if (points.length) drawChosen(pen, chosen.rule, points, looks !== Infinity);
  if (objective.minimizer) drawMinimum(pen, place(objective.minimizer));
  write(pen, "θ₁ →", width - 36, height - 8, "left", "#333");
  writeUpwards(pen, "θ₂ →", 14, 36, "left");
}

/** Return where a descent was at its first looks, up to where it was no number. */
function pathOf({ rule, place, replicate }, looks) {
  if (!rule.paths) return [];
  const count = rule.steps.length;
  const first = (place * rule.replicates + replicate) * 2 * count;
  const points = [];
  for (let k = 0; k < Math.min(looks, count); k++) {
    const point = [rule.paths[first + k], rule.paths[first + count + k]];
    if (!point.every(isFinite)) break;
    points.push(point);
  }
  return points;
}

function drawGhost(pen, rule, points) {
  pen.globalAlpha = 0.45;
  pen.strokeStyle = rule.color;
  pen.lineWidth = 2;
  pen.setLineDash([5, 4]);
  trace(pen, points);
  pen.setLineDash([]);
  pen.globalAlpha = 1;
}

function drawChosen(pen, rule, points, moving) {
  for (const [color, width] of [["#fff", 5], [rule.color, 2]]) {
    pen.strokeStyle = color;
    pen.lineWidth = width;
    trace(pen, points);
  }
  pen.fillStyle = rule.color;
  points.forEach((point) => dot(pen, point, 3));
  pen.strokeStyle = "#000";
  pen.fillStyle = "#fff";
  dot(pen, points[0], 6);
  pen.stroke();
  write(pen, "first look", points[0][0] + 10, points[0][1] - 8, "left", "#333");
  if (!moving) return;
  pen.fillStyle = rule.color;
  pen.strokeStyle = "#fff";
  dot(pen, points[points.length - 1], 8);
  pen.stroke();
}

function drawMinimum(pen, [x, y]) {
  pen.strokeStyle = "#000";
  pen.lineWidth = 3;
  trace(pen, [[x - 8, y], [x + 8, y]]);
  trace(pen, [[x, y - 8], [x, y + 8]]);
  write(pen, "minimum", x + 10, y + 18, "left", "#333");
}

// ---- The objective against steps

/** Draw J over its minimum against steps, on axes that hold all configurations of all rules. */
function drawCurve(canvas, objective, target, chosen, kept, looks) {
  const [pen, width, height] = sized(canvas, 0.56);
  const least = objective.minimum ?? 0;
  const axes = axesOf(Object.values(objective.rules), least, width, height);
  drawCurveAxes(pen, axes, objective.minimum === null ? "steps" : "steps; J over its minimum");
  if (target > least) {
    const y = axes.y(target - least);
    pen.strokeStyle = "#777";
    pen.setLineDash([2, 3]);
    trace(pen, [[axes.left, y], [axes.right, y]]);
    pen.setLineDash([]);
    write(pen, "target", axes.right - 2, y - 4, "right");
  }
  for (const descent of kept) {
    pen.globalAlpha = 0.5;
    pen.setLineDash([5, 4]);
    drawOneCurve(pen, axes, descent, least, Infinity, 1.5);
    pen.setLineDash([]);
    pen.globalAlpha = 1;
  }
  drawOneCurve(pen, axes, chosen, least, looks, 2.5);
}

/** Steps are logarithmic from ten on, and linear before, so that step 0 is where it is. */
function bent(step) {
  return step <= 10 ? step / 10 : 1 + Math.log10(step / 10) * 2.3;
}

function axesOf(rules, least, width, height) {
  const [left, right, bottom] = [58, width - 16, height - 34];
  const last = Math.max(...rules.map((rule) => rule.steps[rule.steps.length - 1]));
  const scale = heightsOf(rules, least);
  const within = (value) => Math.max(scale.lowest, Math.min(scale.highest, scale.bent(value)));
  const x = (step) => left + (bent(step) / bent(last)) * (right - left);
  const y = (value) => 8 + ((scale.highest - within(value)) / (scale.highest - scale.lowest)) * (bottom - 8);
  return { left, right, bottom, last, x, y, drawn: scale.drawn, marks: scale.marks };
}

/** Heights are logarithmic; where some fall below zero they are linear around it, and logarithmic on both sides. */
function heightsOf(rules, least) {
  let [first, low, below] = [-Infinity, Infinity, false];
  for (const rule of rules) {
    rule.curves.forEach((value, i) => {
      const above = value - least;
      if (!isFinite(above) || above === 0) return;
      if (i % rule.steps.length === 0) first = Math.max(first, above);
      low = Math.min(low, above);
      below = below || above < 0;
    });
  }
  if (below) return fallingHeights(Math.max(first, 1), Math.max(low, -1e16));
  const highest = Math.ceil(Math.log10(first)) || 0;
  const lowest = Math.min(Math.max(Math.floor(Math.log10(low)) || -1, highest - 16), highest - 1);
  const every = Math.max(1, Math.ceil((highest - lowest) / 7));
  const powers = Array.from({ length: Math.floor((highest - lowest) / every) + 1 }, (_, i) => highest - i * every);
  const marks = powers.map((power) => 10 ** power);
  return { highest, lowest, bent: Math.log10, drawn: (above) => above > 0 && isFinite(above), marks };
}

function fallingHeights(high, low) {
  const size = Math.max(high, -low);
  const every = Math.max(1, Math.ceil(Math.log10(size) / 3));
  const sizes = Array.from({ length: 4 }, (_, i) => 10 ** (i * every));
  const marks = [0, ...sizes, ...sizes.map((value) => -value)].filter((value) => low <= value && value <= high);
  return { highest: Math.asinh(high), lowest: Math.asinh(low), bent: Math.asinh, drawn: isFinite, marks };
}

function drawCurveAxes(pen, axes, words) {
  pen.strokeStyle = FAINT;
  for (const mark of axes.marks) {
    const y = axes.y(mark);
    trace(pen, [[axes.left, y], [axes.right, y]]);
    write(pen, powerOfTen(mark), axes.left - 6, y + 4, "right");
  }
  for (const step of new Set([0, 5, 10, 100, 1000, 10000, 100000, axes.last])) {
    // The last step is told, too, and no other so near that their numbers would meet.
    const apart = step === axes.last || axes.last > 1.5 * step;
    if (step <= axes.last && apart) write(pen, step, axes.x(step), axes.bottom + 16, "center");
  }
  write(pen, words, (axes.left + axes.right) / 2, axes.bottom + 30, "center");
}

function powerOfTen(value) {
  if (value === 0) return "0";
  const power = String(Math.round(Math.log10(Math.abs(value)))).replace("-", "−");
  return `${value < 0 ? "−" : ""}1e${power}`;
}

function drawOneCurve(pen, axes, { rule, place }, least, looks, width) {
  const points = [];
  for (let k = 0; k < Math.min(looks, rule.steps.length); k++) {
    const above = rule.curves[place * rule.steps.length + k] - least;
    if (!axes.drawn(above)) break;
    points.push([axes.x(rule.steps[k]), axes.y(above)]);
  }
  pen.strokeStyle = rule.color;
  pen.lineWidth = width;
  trace(pen, points);
}

// ---- The map of the grid

/** Draw what each configuration is worth: columns along the first axis, rows along the second, the rest as chosen.
 *  Return which row and column a point of the canvas is in, or nothing. */
function drawMap(canvas, rule, at, worth) {
  const columns = rule.axes[0].values;
  const rows = rule.axes[1] ? rule.axes[1].values : [null];
  const alone = rows[0] === null;
  const [pen, width, height] = sized(canvas, alone ? 0.34 : 0.62);
  const box = { left: alone ? 30 : 64, top: 6, right: width - 96, bottom: height - 34 };
  box.across = (box.right - box.left) / columns.length;
  box.along = (box.bottom - box.top) / rows.length;
  const corner = (i, j) => [box.left + i * box.across, box.bottom - (j + 1) * box.along];
  const cells = rows.flatMap((_, j) =>
    columns.map((_, i) => {
      const place = ravel([i, j, ...at.slice(2)].slice(0, rule.shape.length), rule.shape);
      return { corner: corner(i, j), value: worth(place), diverged: rule.diverged[place] > 0.5 };
    }),
  );
  const scale = scaleOf(cells.map((cell) => cell.value).filter(isFinite));
  cells.forEach((cell) => drawCell(pen, box, cell, scale, rule.cost.length > 0));
  outline(pen, box, corner(at[0], alone ? 0 : at[1]));
  drawMapAxes(pen, box, rule.axes);
  drawKey(pen, box, scale);
  return (x, y) => {
    const [i, j] = [Math.floor((x - box.left) / box.across), Math.floor((box.bottom - y) / box.along)];
    return i in columns && j in rows ? [i, j] : null;
  };
}

/** Return the least and greatest of some numbers, and the colour of each, by its logarithm; below zero too. */
function scaleOf(known) {
  const [least, most] = [Math.min(...known), Math.max(...known)];
  const bent = least < 0 ? Math.asinh : (value) => Math.log(value + (least > 0 ? 0 : 1e-12));
  const [low, high] = [bent(least), bent(most)];
  const shade = (value) => Math.floor((8 * (bent(value) - low)) / Math.max(high - low, 1e-9));
  const color = (value) => CIVIDIS[Math.min(7, Math.max(0, shade(value)))];
  return { least, most, color, empty: known.length === 0 };
}

function drawCell(pen, box, { corner: [x, y], value, diverged }, scale, byCost) {
  const coloured = isFinite(value) && (byCost || !diverged);
  pen.fillStyle = coloured ? scale.color(value) : diverged ? "#fff" : "#eef0f3";
  // A little more than its room: else there are seams.
  pen.fillRect(x, y, box.across + 0.5, box.along + 0.5);
  const inside = (across, along) => [x + box.across * across, y + box.along * along];
  if (diverged) {
    pen.strokeStyle = "#9aa2ae";
    pen.lineWidth = 1;
    trace(pen, [inside(0.25, 0.3), inside(0.75, 0.7)]);
    trace(pen, [inside(0.75, 0.3), inside(0.25, 0.7)]);
  }
  if (coloured && value === scale.least) {
    const [middle, low] = inside(0.5, 0.5);
    pen.font = "15px system-ui, sans-serif";
    write(pen, "★", middle, low + 5, "center", "#000");
    pen.font = "12px system-ui, sans-serif";
  }
}

function outline(pen, box, [x, y]) {
  for (const [color, width] of [["#fff", 5], [HERE, 2.5]]) {
    pen.strokeStyle = color;
    pen.lineWidth = width;
    pen.strokeRect(x, y, box.across, box.along);
  }
}

function drawMapAxes(pen, box, [first, second]) {
  const everyColumn = Math.max(1, Math.ceil(first.values.length / 3));
  first.values.forEach((value, i) => {
    if (i % everyColumn) return;
    write(pen, shown(value), box.left + (i + 0.5) * box.across, box.bottom + 16, "center");
  });
  write(pen, first.name, (box.left + box.right) / 2, box.bottom + 31, "center");
  if (!second) return;
  const everyRow = Math.max(1, Math.ceil(second.values.length / 7));
  second.values.forEach((value, j) => {
    if (j % everyRow) return;
    write(pen, shown(value), box.left - 5, box.bottom - (j + 0.5) * box.along + 4, "right");
  });
  writeUpwards(pen, second.name, 12, (box.top + box.bottom) / 2, "center");
}

function drawKey(pen, box, scale) {
  if (scale.empty) return;
  const [x, height] = [box.right + 12, Math.min(box.bottom - box.top, 110)];
  CIVIDIS.forEach((color, i) => {
    pen.fillStyle = color;
    pen.fillRect(x, box.top + (i * height) / 8, 12, height / 8 + 0.5);
  });
  write(pen, shown(scale.least), x + 17, box.top + 10);
  write(pen, shown(scale.most), x + 17, box.top + height);
}
