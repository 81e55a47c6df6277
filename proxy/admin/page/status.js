// The status page: asks /api/status again and again, and shows what it says.

import { byId, make, mend, show, write } from './dom.js';
import { showPlots } from './plots.js';
import { foldable, showErrors, showRefreshes, showRequests } from './rows.js';
import { showTokens, tickTokens } from './tokens.js';
import { duration, grouped, moment, rate, time } from './words.js';

const EVERY = 2000;
const SLOWEST = 15000;
const PATIENCE = 5000;
const NAMES = { main: 'Callers reach it at', admin: 'Admin port' };
const WORDS = { ok: 'Working', warning: 'Warning', failing: 'Failing', starting: 'Starting', stopping: 'Stopping', gone: 'No answer' };

let status = null; // the last document
let heard = 0; // when it came, by this machine's steady clock, in milliseconds
let failures = 0;
let timer = 0;
let paused = false;
let announced = '';

function now() {
  return status.at + (performance.now() - heard) / 1000;
}

async function look() {
  clearTimeout(timer);
  try {
    const answer = await fetch('/api/status', { cache: 'no-store', signal: AbortSignal.timeout(PATIENCE) });
    if (!answer.ok) throw new Error(await answer.text());
    status = await answer.json();
    heard = performance.now();
    failures = 0;
    showStatus();
  } catch (error) {
    failures += 1;
    showGone(error);
  }
  plan();
}

// The next look; later and later while nobody answers, and none while nobody looks.
function plan() {
  clearTimeout(timer);
  if (paused || document.hidden) return;
  timer = setTimeout(look, Math.min(EVERY * 2 ** Math.min(failures, 3), SLOWEST));
}

function showStatus() {
  document.body.classList.remove('gone');
  const { verdict, about, load, minute } = status;
  showVerdict(verdict.state, verdict.sentence, verdict.cause, verdict.advice);
  write(byId('version'), about.version);
  const failed = minute.token + minute.upstream + minute.proxy + minute.bank;
  write(byId('rate'), rate(minute.per_second));
  write(byId('failed'), grouped(failed + minute.caller));
  write(byId('failed-of'), minute.requests ? `of ${grouped(minute.requests)} in a minute` : 'in the last minute');
  byId('failed').parentElement.dataset.bad = String(failed > 0);
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

function showVerdict(state, sentence, cause = '', advice = '') {
  byId('verdict').dataset.state = state;
  write(byId('sentence'), sentence);
  write(byId('cause'), cause);
  write(byId('advice'), advice);
  show(byId('cause-row'), cause !== '');
  show(byId('advice-row'), advice !== '');
  show(byId('why'), cause !== '' || advice !== '');
  document.title = `${WORDS[state]} · candescent-proxy`;
  // Read out what has changed in kind, not each minute less.
  const kind = `${state} ${cause}`;
  if (kind !== announced) write(byId('announce'), [sentence, cause, advice].filter(Boolean).join(' '));
  announced = kind;
}

function showGone(error) {
  document.body.classList.add('gone');
  const since = status ? ` Below is how it was at ${moment(status.at, status.at)}.` : '';
  const refused = error.message && !(error instanceof TypeError) && error.name === 'Error';
  showVerdict(
    'gone',
    `The proxy does not ${refused ? 'show its status here' : 'answer'}.${since}`,
    refused ? error.message.trim() : 'Nothing answers at this address: it has stopped, or this machine cannot reach it.',
    refused ? '' : 'Look at its log and its service; this page finds it again by itself.',
  );
}

function showAbout() {
  const { about, listeners, load, readiness, reload } = status;
  const ways = listeners.map((each) => {
    const words = [each.tls ? 'TLS' : '', each.authenticated ? 'callers show who they are' : ''].filter(Boolean);
    return [NAMES[each.name] ?? `Listener ${each.name}`, [each.address, ...words].join(', ')];
  });
  const facts = [
    ['Forwards to', about.upstream],
    ['Institution', about.institution],
    ...ways,
    ['Ready', readiness.ready ? 'yes' : `no: ${readiness.reasons.join(' ')}`],
    ...readiness.warnings.map((warning) => ['Warning', warning]),
    ['Connections', `${grouped(load.caller_connections)} of callers, ${grouped(load.upstream_connections)} to the bank (${grouped(load.upstream_idle)} unused)`],
    ['Configuration', reload ? `${reload.success ? 'loaded' : 'reload failed'} at ${moment(reload.at, status.at)}` : 'as at the start'],
    ['Started', `${moment(about.started_at, status.at)}, ${duration(about.uptime)} ago`],
    ['Version', about.version],
  ];
  mend(
    byId('about-list'),
    facts,
    ([name]) => name,
    ([name]) => make('div', '', make('dt', '', name), make('dd')),
    (pair, [, text]) => write(pair.lastElementChild, text),
  );
}

// Once a second: what runs on by itself.
function tick() {
  if (!status) return;
  const age = (performance.now() - heard) / 1000;
  byId('freshness').dataset.state = paused ? 'paused' : failures ? 'old' : 'live';
  write(byId('freshness'), paused ? 'paused' : failures ? `${duration(age)} old` : 'live');
  tickTokens(now());
}

byId('pause').addEventListener('click', () => {
  paused = !paused;
  byId('pause').setAttribute('aria-pressed', String(paused));
  write(byId('pause'), paused ? 'Go on' : 'Pause');
  if (paused) clearTimeout(timer);
  else look();
  tick();
});
document.addEventListener('visibilitychange', () => {
  if (!document.hidden && !paused) look();
});
new ResizeObserver(() => status && showPlots(status)).observe(byId('rate-plot'));
foldable('refreshes', () => showRefreshes(status));
foldable('requests', () => showRequests(status));
setInterval(() => !paused && tick(), 1000);
look();
