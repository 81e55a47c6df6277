// The two plots of the last quarter of an hour. Their legends show the newest values, or those
// under the pointer.

import { byId, write } from './dom.js';
import { draw, linear, logarithmic } from './plot.js';
import { moment, rate, tick, time } from './words.js';

const SOURCES = ['caller', 'token', 'upstream', 'proxy', 'bank'];

export function showPlots(status) {
  const { at, step, per_second: all, p50_ms: half, p99_ms: most, ...sources } = status.series;
  const failed = at.map((_, index) => SOURCES.reduce((sum, name) => sum + sources[name][index], 0));
  const common = { at, step, now: status.at };
  draw(byId('rate-plot'), {
    ...common,
    lines: [{ name: 'good', values: all, filled: true }, { name: 'bad', values: failed, filled: true }],
    scale: linear(all, rate),
    label: `Requests a second: at most ${rate(peak(all))}, failed at most ${rate(peak(failed))}.`,
    point: legend('rate', { all, failed }, rate, status),
  });
  draw(byId('time-plot'), {
    ...common,
    lines: [{ name: 'most', values: most }, { name: 'half', values: half }],
    scale: logarithmic([...half, ...most].filter((value) => value !== null), tick),
    label: `Durations: p50 at most ${time(peak(half))}, p99 at most ${time(peak(most))}.`,
    point: legend('time', { half, most }, time, status),
  });
}

function peak(values) {
  return Math.max(0, ...values.filter((value) => value !== null));
}

// Write the newest values into a legend; return a function that writes those of an index.
function legend(name, columns, word, status) {
  const point = (place) => {
    const { at } = status.series;
    const index = place ?? at.length - 1;
    write(byId(`${name}-when`), place === null || !at.length ? '' : moment(at[index], status.at));
    for (const [column, values] of Object.entries(columns)) {
      write(byId(`${name}-${column}`), index < 0 ? '' : word(values[index]));
    }
  };
  point(null);
  return point;
}
