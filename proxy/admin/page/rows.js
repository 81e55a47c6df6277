// The tables: refreshes, errors, requests.

import { byId, copyButton, explain, make, reconcile, row, show, write } from './dom.js';
import { duration, grouped, holder, iso, moment, ms, owner, short, time } from './words.js';

const WHY = {
  first: 'the first',
  due: 'due',
  expired: 'the last had expired',
  rejected: 'the last was refused',
  reload: 'changed credentials',
  shared: 'fetched by another proxy',
};
const FEW = 10;
const expanded = new Set();

// A long table shows its first rows and a button for all.
export function foldable(name, again) {
  const button = byId(`more-${name}`).querySelector('button');
  button.addEventListener('click', () => {
    if (expanded.has(name)) expanded.delete(name);
    else expanded.add(name);
    button.setAttribute('aria-expanded', String(expanded.has(name)));
    again();
  });
}

export function folded(name, items) {
  const more = byId(`more-${name}`);
  show(more, items.length > FEW);
  write(more.querySelector('button'), expanded.has(name) ? 'Show fewer' : `Show all ${items.length}`);
  return expanded.has(name) ? items : items.slice(0, FEW);
}

function setTime(cell, at, now) {
  let element = cell.firstElementChild;
  if (!element) {
    element = make('time');
    cell.append(element);
  }
  element.dateTime = iso(at);
  write(element, moment(at, now));
}

// An id whose end is always visible, because successive ids have the same beginning.
function setId(element, id) {
  if (element.dataset.id === id) return;
  element.dataset.id = id;
  element.title = id;
  const button = element.nextElementSibling;
  show(button, id !== '' && navigator.clipboard !== undefined); // there is none over plain HTTP from another machine
  button.dataset.copy = id;
  button.setAttribute('aria-label', `Copy transactionId ${id}`);
  element.replaceChildren(make('span', 'id-head', id.slice(0, -12)), make('span', '', id.slice(-12)));
}

export function showRefreshes(status) {
  const items = status.refreshes;
  show(byId('refresh-table'), items.length > 0);
  show(byId('no-refreshes'), items.length === 0);
  reconcile(
    byId('refresh-rows'),
    folded('refreshes', items),
    (each) => `${each.at} ${each.kind} ${holder(each)}`,
    () => row([['When', 'when'], ['Token', 'token'], ['Why', 'why'], ['Result', 'result'], ['Took', 'number took'], ['What happened', 'grow']]),
    (line, each) => {
      const again = each.retry_in === null ? '' : ` Next try after ${duration(each.retry_in)}.`;
      const lives = each.lifetime === null ? '' : `Valid for ${duration(each.lifetime)}.`;
      const result = each.failures > 1 ? `failed (${each.failures} in a row)` : each.result;
      line.dataset.result = each.result;
      setTime(line.children[0], each.at, status.at);
      write(line.children[1], `${each.kind.toUpperCase()} ${holder(each)}`);
      write(line.children[2], each.result === 'rejected' ? '–' : WHY[each.why] ?? each.why);
      write(line.children[3], each.result === 'rejected' ? 'refused by the bank' : result);
      write(line.children[4], each.took === null ? '–' : time(each.took * 1000));
      write(line.children[5], each.detail + again + lives);
    },
  );
}

// A failed token call and the requests that failed without a token are shown as one error.
function merged(errors) {
  const requests = new Map();
  for (const each of errors) if (each.area === 'request' && each.source === 'token') requests.set(each.reason, each);
  const tokenReasons = new Set(errors.filter((each) => each.area === 'token').map((each) => each.reason));
  return errors
    .filter((each) => !(each.area === 'request' && tokenReasons.has(each.reason)))
    .map((each) => {
      const request = each.area === 'token' ? requests.get(each.reason) : undefined;
      if (!request) return each;
      const { transactionId, method, path, status } = request;
      return { ...each, transactionId, method, path, status, failed: request.count, last_at: Math.max(each.last_at, request.last_at) };
    })
    .sort((one, other) => other.last_at - one.last_at);
}

export function showErrors(status) {
  const items = merged(status.errors);
  show(byId('error-table'), items.length > 0);
  show(byId('no-errors'), items.length === 0);
  write(byId('errors-count'), items.length ? 'since the start, by name' : '');
  reconcile(
    byId('error-rows'),
    items,
    (each) => `${each.area} ${each.reason}`,
    () => {
      const line = row([['Last', 'when'], ['Times', 'number times'], ['Whose', 'owner'], ['What, and what to do', 'grow'], ['Last seen in', 'where']]);
      line.children[3].append(make('strong'), make('span', 'advice'), make('a', 'name'));
      line.children[4].append(make('span', 'call'), make('code', 'id'), copyButton());
      return line;
    },
    (line, each) => {
      setTime(line.children[0], each.last_at, status.at);
      write(line.children[1], grouped(each.count));
      write(line.children[2], each.area === 'configuration' ? 'configuration' : owner(each.source, each.status));
      const [detail, advice, name] = line.children[3].children;
      write(detail, each.detail);
      write(advice, each.advice + (each.failed ? ` Requests that failed for it: ${grouped(each.failed)}.` : ''));
      write(name, each.reason);
      explain(name, each.reason);
      const [call, id] = line.children[4].children;
      const token = each.area === 'token' ? `the token of ${each.institution}` : '';
      write(call, each.status ? `${each.method} ${each.path} ${each.status}`.trim() : token);
      setId(id, each.transactionId);
    },
  );
}

export function showRequests(status) {
  const items = status.requests;
  show(byId('request-table'), items.length > 0);
  show(byId('no-requests'), items.length === 0);
  reconcile(
    byId('request-rows'),
    folded('requests', items),
    (each) => `${each.at.toFixed(4)} ${each.transactionId}`,
    () => {
      const line = row([
        ['When', 'when'], ['Method', 'method'], ['Path', 'grow path'], ['Status', 'number status'],
        ['Whose error', 'owner'], ['Proxy', 'number own'], ['Bank', 'number bank'], ['All', 'number all'],
        ['transactionId', 'id'],
      ]);
      line.children[2].append(make('span'), make('span', 'quiet'));
      line.children[8].append(make('code', 'id'), copyButton());
      return line;
    },
    (line, each) => {
      line.dataset.kind = each.status >= 500 || each.error_source !== 'none' || each.aborted ? 'bad' : each.status >= 400 ? 'odd' : 'good';
      setTime(line.children[0], each.at, status.at);
      const source = [owner(each.error_source, each.status), short(each.reason)].filter(Boolean).join(': ');
      const notes = [source, each.replays ? 'sent again' : '', each.aborted ? 'aborted' : ''];
      write(line.children[1], each.method || '–');
      const [path, listener] = line.children[2].children;
      write(path, each.path || 'no valid request');
      write(listener, status.listeners.length > 2 ? ` by ${each.listener}` : '');
      write(line.children[3], each.status ? String(each.status) : 'none');
      write(line.children[4], notes.filter(Boolean).join(', '));
      write(line.children[5], ms(each.proxy_ms));
      write(line.children[6], ms(each.upstream_ms));
      write(line.children[7], ms(each.total_ms));
      setId(line.children[8].firstElementChild, each.transactionId);
    },
  );
}
