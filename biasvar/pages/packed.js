"use strict";
// What the explorer of descents is made from: packed numbers, places in a grid, and how numbers are written.

/** Inflate, bring the four bytes of each number together, and undo the differences along each row. */
async function unpack(text, rowLength) {
  const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  const planes = new Uint8Array(await new Response(stream).arrayBuffer());
  const count = planes.length / 4;
  const together = new Uint8Array(planes.length);
  for (let i = 0; i < count; i++) {
    for (let b = 0; b < 4; b++) together[4 * i + b] = planes[b * count + i];
  }
  const bits = new Int32Array(together.buffer);
  const row = rowLength || bits.length;
  for (let i = 0; i < bits.length; i++) {
    if (i % row) bits[i] = (bits[i] + bits[i - 1]) | 0;
  }
  return new Float32Array(together.buffer);
}

/** Unpack the curves, paths and costs of one rule in place. */
async function unpackRule(rule) {
  for (const name of ["curves", "errors", "paths"]) {
    if (rule[name]) rule[name] = await unpack(rule[name], rule.steps.length);
  }
  rule.diverged = await unpack(rule.diverged);
  rule.cost = await Promise.all((rule.cost || []).map((text) => unpack(text)));
}

/** Return the index along each axis of a place in a grid whose last axis differs first. */
function unravel(place, shape) {
  const at = [];
  for (let axis = shape.length - 1; axis >= 0; axis--) {
    at[axis] = place % shape[axis];
    place = Math.floor(place / shape[axis]);
  }
  return at;
}

/** Return the place in a grid of an index along each axis. */
function ravel(at, shape) {
  return at.reduce((place, index, axis) => place * shape[axis] + index, 0);
}

/** Write a number short. */
function shown(value) {
  const plain = value === 0 || (Math.abs(value) >= 1e-3 && Math.abs(value) < 1e5);
  const text = plain ? String(+value.toPrecision(4)) : (+value.toPrecision(3)).toExponential();
  return text.replace(/-/g, "−").replace("e+", "e");
}

/** Make an element with properties and children. */
function make(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}
