// The status page: polls /api/status and shows it.

import { byId, copyOnClick, explain, make, reconcile, show, write } from './dom.js';
import { showPlots } from './plots.js';
import { foldable, showErrors, showRefreshes, showRequests } from './rows.js';
import { showTokens, tickTokens } from './tokens.js';
import { duration, grouped, moment, rate, time } from './words.js';

const EVERY = 2000;
const SLOWEST = 15000;
const TIMEOUT = 5000;
const NAMES = { main: 'Listener', admin: 'Admin port' };
const WORDS = { ok: 'Working', warning: 'Warning', failing: 'Failing', starting: 'Starting', stopping: 'Stopping', gone: 'No response' };

let status = null; // the last document
let receivedAt = 0; // when it was received, by the monotonic clock, in milliseconds
let failures = 0;
let timer = 0;
let paused = false;
let announced = '';

function now() {
  return status.at + (performance.now() - receivedAt) / 1000;
}

async function poll() {
  clearTimeout(timer);
  try {
    const response = await fetch('/api/status', { cache: 'no-store', signal: AbortSignal.timeout(TIMEOUT) });
    if (!response.ok) throw new Error(await response.text());
    status = await response.json();
    receivedAt = performance.now();
    failures = 0;
    showStatus();
  } catch (error) {
    failures += 1;
    showGone(error);
  }
  schedule();
}

// Schedule the next poll, with back-off after failures; none while the page is hidden.
function schedule() {
  clearTimeout(timer);
  if (paused || document.hidden) return;
  timer = setTimeout(poll, Math.min(EVERY * 2 ** Math.min(failures, 3), SLOWEST));
}

function showStatus() {
  document.body.classList.remove('gone');
  const { health, about, load, minute } = status;
  showHealth(health.state, health.sentence, health.cause, health.advice, health.reason);
  showOthers(health.others);
  write(byId('version'), about.version);
  const failed = minute.token + minute.upstream + minute.proxy + minute.bank;
  write(byId('rate'), rate(minute.per_second));
  write(byId('failed'), grouped(failed + minute.caller));
  write(byId('failed-of'), minute.requests ? `of ${grouped(minute.requests)} in a minute` : 'in the last minute');
  const isMost = failed + minute.caller > 0 && 2 * (failed + minute.caller) >= minute.requests;
  byId('failed').parentElement.dataset.bad = String(failed > 0 || isMost);
  write(byId('p50'), time(minute.p50_ms));
  write(byId('p99'), time(minute.p99_ms));
  write(byId('own'), time(minute.proxy_p50_ms));
  write(byId('in-flight'), grouped(load.in_flight));
  showTokens(status);
  showRefreshes(status);
  showErrors(status);
  showRequests(status);
  showAbout();
  showPlots(status);
  tick();
}

function showHealth(state, sentence, cause = '', advice = '', reason = 'none') {
  byId('health').dataset.state = state;
  write(byId('sentence'), sentence);
  write(byId('cause'), cause);
  write(byId('advice'), advice);
  explain(byId('explained'), reason);
  show(byId('cause-row'), cause !== '');
  show(byId('advice-row'), advice !== '');
  show(byId('why'), cause !== '' || advice !== '');
  document.title = `${WORDS[state]} · candescent-proxy`;
  // Announce a changed state or cause, not each changed number.
  const kind = `${state} ${cause}`;
  if (kind !== announced) write(byId('announce'), [sentence, cause, advice].filter(Boolean).join(' '));
  announced = kind;
}

// Problems that are not the worst one.
function showOthers(others) {
  reconcile(
    byId('others'),
    others,
    (each) => each.reason,
    () => make('li', '', make('span', 'word'), ' ', make('strong'), make('span', 'advice'), ' ', make('a')),
    (item, each) => {
      const [word, sentence, advice, link] = item.children;
      item.dataset.state = each.state;
      write(word, WORDS[each.state]);
      write(sentence, each.sentence);
      write(advice, [each.cause, each.advice].join(' '));
      write(link, 'More');
      explain(link, each.reason);
    },
  );
}

function showGone(error) {
  document.body.classList.add('gone');
  const since = status ? ` The values below are from ${moment(status.at, status.at)}.` : '';
  const refused = error.message && !(error instanceof TypeError) && error.name === 'Error';
  showHealth(
    'gone',
    `The proxy does not ${refused ? 'show its status here' : 'respond'}.${since}`,
    refused ? error.message.trim() : 'It has stopped, or this machine cannot reach it.',
    refused ? '' : 'Check its log and its service. This page keeps trying.',
  );
}

function showAbout() {
  const { about, listeners, load, readiness, reload } = status;
  const addresses = listeners.map((each) => {
    const words = [each.tls ? 'TLS' : '', each.authenticated ? 'callers authenticate' : ''].filter(Boolean);
    return [NAMES[each.name] ?? `Listener ${each.name}`, [each.address, ...words].join(', ')];
  });
  const rows = [
    ['Forwards to', about.upstream],
    ['Institution', about.institution],
    ...addresses,
    ['Ready', readiness.ready ? 'yes' : `no: ${readiness.reasons.join(' ')}`],
    ...readiness.warnings.map((warning) => ['Warning', warning]),
    ['Connections', `${grouped(load.caller_connections)} of callers, ${grouped(load.upstream_connections)} to the bank (${grouped(load.upstream_idle)} unused)`],
    ['Configuration', reload ? `${reload.success ? 'loaded' : 'reload failed'} at ${moment(reload.at, status.at)}` : 'not reloaded since the start'],
    ['Started', `${moment(about.started_at, status.at)}, ${duration(about.uptime)} ago`],
    ['Version', about.version],
  ];
  reconcile(
    byId('about-list'),
    rows,
    ([name]) => name,
    ([name]) => make('div', '', make('dt', '', name), make('dd')),
    (pair, [, text]) => write(pair.lastElementChild, text),
  );
}

// Once a second: update what depends on the time.
function tick() {
  if (!status) return;
  const age = (performance.now() - receivedAt) / 1000;
  byId('freshness').dataset.state = paused ? 'paused' : failures ? 'old' : 'live';
  write(byId('freshness'), paused ? 'paused' : failures ? `${duration(age)} old` : 'live');
  tickTokens(now());
}

byId('pause').addEventListener('click', () => {
  paused = !paused;
  byId('pause').setAttribute('aria-pressed', String(paused));
  write(byId('pause'), paused ? 'Resume' : 'Pause');
  if (paused) clearTimeout(timer);
  else poll();
  tick();
});
document.addEventListener('visibilitychange', () => {
  if (!document.hidden && !paused) poll();
});
new ResizeObserver(() => status && showPlots(status)).observe(byId('rate-plot'));
foldable('tokens', () => showTokens(status));
byId('filter').addEventListener('input', () => status && showTokens(status));
byId('well').addEventListener('toggle', () => status && showTokens(status));
copyOnClick();
foldable('refreshes', () => showRefreshes(status));
foldable('requests', () => showRequests(status));
setInterval(() => !paused && tick(), 1000);
poll();
