// Formats numbers and times. Nothing here touches the page.

export const NONE = '–';

export function duration(seconds) {
  const total = Math.max(0, Math.floor(seconds));
  if (total < 120) return `${total} s`;
  const minutes = Math.floor(total / 60);
  const hours = Math.floor(total / 3600);
  if (hours < 1) return `${minutes} min`;
  if (hours < 48) return minutes % 60 ? `${hours} h ${minutes % 60} min` : `${hours} h`;
  return `${Math.floor(total / 86400)} days`;
}

// A countdown, with seconds up to an hour.
export function countdown(seconds) {
  const total = Math.max(0, Math.ceil(seconds));
  if (total < 60) return `${total} s`;
  if (total < 3600) return `${Math.floor(total / 60)} min ${String(total % 60).padStart(2, '0')} s`;
  return duration(total);
}

const CLOCK = new Intl.DateTimeFormat('en-GB', { hour: '2-digit', minute: '2-digit', second: '2-digit' });
const DAY = new Intl.DateTimeFormat('en-GB', { day: 'numeric', month: 'short', hour: '2-digit', minute: '2-digit' });

// The time of day; with the date, unless it is today.
export function moment(at, now) {
  const date = new Date(at * 1000);
  const same = date.toDateString() === new Date(now * 1000).toDateString();
  return (same ? CLOCK : DAY).format(date);
}

export function iso(at) {
  return new Date(at * 1000).toISOString();
}

// Milliseconds with three significant figures.
export function ms(value) {
  if (value === null) return NONE;
  if (value < 10) return value.toFixed(2);
  if (value < 100) return value.toFixed(1);
  return grouped(Math.round(value));
}

export function time(milliseconds) {
  if (milliseconds === null) return NONE;
  if (milliseconds < 1000) return `${ms(milliseconds)} ms`;
  return `${(milliseconds / 1000).toFixed(milliseconds < 10000 ? 2 : 1)} s`;
}

// The label of a grid line, with one figure.
export function tick(milliseconds) {
  return milliseconds < 1000 ? `${milliseconds} ms` : `${milliseconds / 1000} s`;
}

export function rate(value) {
  if (value === 0) return '0';
  if (value < 10) return value.toFixed(1);
  return grouped(Math.round(value));
}

export function grouped(value) {
  return String(value).replace(/\B(?=(\d{3})+$)/g, '\u202f');
}

const OWNERS = { upstream: 'bank' };

// The source of a response's error; empty without one. A missing response counts as the bank's.
export function owner(source, status) {
  if (source !== 'none') return OWNERS[source] ?? source;
  return status >= 400 ? 'bank' : '';
}

// The name of an error without its source.
export function short(reason) {
  return reason.replace(/^(token|upstream)-/, '');
}

// Whose token it is: an institution's, or that of a listener with its own login.
export function holder({ institution, login }) {
  return login ? `${institution} ${login}` : institution;
}
