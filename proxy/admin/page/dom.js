// Elements, made and mended. Text goes in as text, always; nothing here reads markup.

export function byId(id) {
  return document.getElementById(id);
}

export function make(name, className = '', ...children) {
  const element = document.createElement(name);
  if (className) element.className = className;
  element.append(...children);
  return element;
}

// Set a text only where it differs, so that a selection stays and nothing is read out twice.
export function write(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

export function show(element, isShown) {
  element.hidden = !isShown;
}

// Make the children of `home` those of `items`: one element a key, kept while the key stays.
export function mend(home, items, keyOf, create, update) {
  const before = new Map([...home.children].map((child) => [child.dataset.key, child]));
  const seen = new Map();
  let place = home.firstElementChild;
  for (const item of items) {
    const name = keyOf(item);
    const count = (seen.get(name) ?? 0) + 1;
    seen.set(name, count);
    const key = `${name} ${count}`;
    const child = before.get(key) ?? create(item);
    before.delete(key);
    child.dataset.key = key;
    update(child, item);
    if (child === place) place = place.nextElementSibling;
    else home.insertBefore(child, place);
  }
  for (const child of before.values()) child.remove();
}

// A row of a table. On a phone its cells stand below each other, each with its heading; the roles
// keep it a table for those who cannot see it.
export function row(names) {
  const line = make('tr');
  line.setAttribute('role', 'row');
  for (const [name, className] of names) {
    const cell = make('td', className);
    cell.setAttribute('role', 'cell');
    cell.dataset.label = name;
    line.append(cell);
  }
  return line;
}
