// Line plots over time, redrawn from the numbers each time.

import { duration } from './words.js';

const SPACE = 'http://www.w3.org/2000/svg';
const HEIGHT = 160;
const LEFT = 52;
const RIGHT = 2;
const TOP = 8;
const BOTTOM = 20;
const SPANS = [90, 360, 900]; // seconds shown: the shortest span that holds all samples

export function shape(name, attributes = {}, text = '') {
  const element = document.createElementNS(SPACE, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.textContent = text;
  return element;
}

// A scale: `place` maps a value to 0 (bottom) to 1 (top); there is a grid line at each of `ticks`.
export function linear(values, word) {
  const most = Math.max(1, ...values);
  const power = 10 ** Math.floor(Math.log10(most));
  const step = [0.5, 1, 2, 5].map((factor) => factor * power).find((each) => most / each <= 4) ?? 5 * power;
  const high = Math.ceil(most / step) * step;
  const ticks = [];
  for (let count = 0; count * step <= high; count += 1) ticks.push([count * step, word(count * step)]);
  return { ticks, place: (value) => value / high };
}

export function logarithmic(values, word) {
  const real = values.filter((value) => value > 0);
  const low = Math.floor(Math.log10(Math.min(1, ...real)));
  const high = Math.max(low + 2, Math.ceil(Math.log10(Math.max(10, ...real))));
  const ticks = [];
  for (let power = low; power <= high; power += 1) ticks.push([10 ** power, word(10 ** power)]);
  return { ticks, place: (value) => (Math.log10(Math.max(value, 10 ** low)) - low) / (high - low) };
}

// Draw `lines`, each `{ name, values, filled }`, over the times `at`, into `home`. `point` is
// called with the index that the pointer is over, or null when it has left.
export function draw(home, { at, now, step, lines, scale, label, point }) {
  const width = Math.max(home.clientWidth, 200);
  const known = at.length ? now - at[0] : 0;
  const span = SPANS.find((each) => known <= each) ?? SPANS[SPANS.length - 1];
  const x = (moment) => LEFT + (1 - (now - moment) / span) * (width - LEFT - RIGHT);
  const y = (value) => TOP + (1 - scale.place(value)) * (HEIGHT - TOP - BOTTOM);
  const svg = shape('svg', { viewBox: `0 0 ${width} ${HEIGHT}`, width, height: HEIGHT, role: 'img', 'aria-label': label });
  for (const [value, word] of scale.ticks) {
    svg.append(shape('line', { class: 'grid', x1: LEFT, x2: width - RIGHT, y1: y(value), y2: y(value) }));
    svg.append(shape('text', { class: 'tick', x: LEFT - 8, y: y(value) + 4, 'text-anchor': 'end' }, word));
  }
  for (const [third, anchor] of [[3, 'start'], [2, 'middle'], [1, 'middle'], [0, 'end']]) {
    const ago = (span * third) / 3;
    const word = ago ? `${duration(ago)} ago` : 'now';
    svg.append(shape('text', { class: 'tick', x: x(now - ago), y: HEIGHT - 4, 'text-anchor': anchor }, word));
  }
  for (const line of lines) {
    for (const run of runs(at, line.values, now - span, step)) {
      const points = run.map(([moment, value]) => `${x(moment).toFixed(1)} ${y(value).toFixed(1)}`);
      if (line.filled) {
        const foot = y(scale.ticks[0][0]);
        const ends = `L${x(run[run.length - 1][0]).toFixed(1)} ${foot}L${x(run[0][0]).toFixed(1)} ${foot}Z`;
        svg.append(shape('path', { class: `area ${line.name}`, d: `M${points.join('L')}${ends}` }));
      }
      svg.append(shape('path', { class: `line ${line.name}`, d: `M${points.join('L')}` }));
    }
  }
  const hair = shape('line', { class: 'hair', x1: -9, x2: -9, y1: TOP, y2: HEIGHT - BOTTOM });
  svg.append(hair);
  home.replaceChildren(svg);
  home.onpointermove = (event) => {
    const moment = now - span * (1 - (event.offsetX - LEFT) / (width - LEFT - RIGHT));
    const nearest = at.reduce((best, each, index) => (Math.abs(each - moment) < Math.abs(at[best] - moment) ? index : best), 0);
    const isNear = at.length > 0 && Math.abs(at[nearest] - moment) <= 2 * step;
    hair.setAttribute('x1', isNear ? x(at[nearest]) : -9);
    hair.setAttribute('x2', isNear ? x(at[nearest]) : -9);
    point(isNear ? nearest : null);
  };
  home.onpointerleave = () => {
    hair.setAttribute('x1', -9);
    hair.setAttribute('x2', -9);
    point(null);
  };
}

// A line has a gap where values are missing; a single point is drawn as a short line.
function runs(at, values, since, step) {
  const found = [];
  let run = [];
  at.forEach((moment, index) => {
    const value = values[index];
    const isGap = run.length > 0 && moment - run[run.length - 1][0] > 4 * step;
    if (run.length && (value === null || isGap)) {
      found.push(run);
      run = [];
    }
    if (moment >= since && value !== null) run.push([moment, value]);
  });
  if (run.length) found.push(run);
  return found.map((each) => (each.length > 1 ? each : [[Math.max(since, each[0][0] - step), each[0][1]], each[0]]));
}
