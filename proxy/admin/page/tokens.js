// The tokens: one card each, with a bar from its issue to its expiry.

import { byId, make, reconcile, show, write } from './dom.js';
import { shape } from './plot.js';
import { folded } from './rows.js';
import { countdown, duration, grouped, holder } from './words.js';

const STATES = {
  fresh: 'fresh',
  failing: 'cannot be renewed',
  missing: 'missing',
  pending: 'being fetched',
};

const FEW = 6; // fresh tokens that are shown without being asked for
const key = (token) => `${token.kind} ${holder(token)} ${token.origin}`.trimEnd();

// Tokens with a problem are shown first; many fresh ones are one line that opens.
export function showTokens(status) {
  const wanted = byId('filter').value.trim().toLowerCase();
  const tokens = status.tokens.filter((token) => key(token).includes(wanted));
  const fresh = tokens.filter((token) => token.state === 'fresh');
  const isFolded = wanted === '' && fresh.length > FEW;
  const listed = isFolded ? tokens.filter((token) => token.state !== 'fresh') : tokens;
  show(byId('filter-row'), status.tokens.length > FEW);
  show(byId('well'), isFolded);
  write(byId('no-match'), wanted && tokens.length === 0 ? `No token of an institution with “${wanted}”.` : '');
  if (isFolded) {
    const next = Math.min(...fresh.map((token) => token.expires_at)) - status.at;
    const others = listed.length ? 'other tokens' : 'tokens';
    write(byId('well-summary'), `${grouped(fresh.length)} ${others} are fresh; the first expires in ${duration(next)}`);
  }
  reconcile(byId('well-list'), isFolded && byId('well').open ? fresh : [], key, card, update);
  const { length } = status.tokens;
  write(byId('tokens-count'), status.tokens_in_all > length ? `${length} of ${grouped(status.tokens_in_all)}` : '');
  show(byId('no-tokens'), status.tokens.length === 0);
  reconcile(byId('token-list'), folded('tokens', listed), key, card, update);
}

function card(token) {
  const head = make('div', 'card-head');
  head.append(make('h3', '', token.kind.toUpperCase(), make('span', 'institution', [holder(token), token.origin].filter(Boolean).join(' · '))), make('span', 'chip'));
  const times = make('dl', 'card-times');
  for (const [name, word] of [['end', 'Expires in'], ['next', 'Refresh in']]) {
    const pair = make('div', name);
    pair.append(make('dt', '', word), make('dd'));
    times.append(pair);
  }
  const bar = shape('svg', { class: 'life', viewBox: '0 0 100 6', preserveAspectRatio: 'none', 'aria-hidden': 'true' });
  bar.append(
    shape('rect', { class: 'life-all', width: 100, height: 2, y: 2 }),
    shape('rect', { class: 'life-left', height: 2, y: 2 }),
    shape('rect', { class: 'life-next', width: 0.6, height: 6 }),
  );
  return make('li', 'card', head, times, bar, make('p', 'card-cause'), make('p', 'card-advice'));
}

function update(item, token) {
  item.dataset.state = token.state;
  const refreshing = token.refreshing && token.state !== 'pending' ? ', being refreshed' : '';
  write(item.querySelector('.chip'), STATES[token.state] + refreshing);
  const { failure } = token;
  const times = token.failures > 1 ? ` (${token.failures} times in a row)` : '';
  const code = failure?.code && !failure.detail.includes(failure.code) ? ` ${failure.code}` : '';
  write(item.querySelector('.card-cause'), failure ? failure.detail + code + times : '');
  write(item.querySelector('.card-advice'), failure ? failure.advice : '');
  write(item.querySelector('.next dt'), failure ? 'Next try in' : 'Refresh in');
  item.token = token;
}

// Update the countdowns between two polls. `now` is by the proxy's clock.
export function tickTokens(now) {
  for (const item of [...byId('token-list').children, ...byId('well-list').children]) {
    const { token } = item;
    const left = token.expires_at === null ? 0 : token.expires_at - now;
    const next = token.refresh_at === null ? null : token.refresh_at - now;
    const isOver = token.expires_at === null || left <= 0;
    write(item.querySelector('.end dt'), isOver && token.expires_at !== null ? 'Expired' : 'Expires in');
    write(item.querySelector('.end dd'), isOver ? (token.expires_at === null ? '–' : `${duration(-left)} ago`) : countdown(left));
    write(item.querySelector('.next dd'), next === null ? 'now' : next <= 0.5 ? 'now' : countdown(next));
    const share = isOver ? 0 : left / token.lifetime;
    item.querySelector('.life-left').setAttribute('width', Math.max(0, Math.min(100, 100 * share)));
    const mark = item.querySelector('.life-next');
    const place = next === null || isOver || next > left ? -10 : 100 * ((left - next) / token.lifetime);
    mark.setAttribute('x', place);
  }
}
