// Creates and updates elements. Text is always set as text, never as HTML.

export function byId(id) {
  return document.getElementById(id);
}

export function make(name, className = '', ...children) {
  const element = document.createElement(name);
  if (className) element.className = className;
  element.append(...children);
  return element;
}

// Set a text only if it differs, so that selections stay and screen readers do not repeat it.
export function write(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

export function show(element, isShown) {
  element.hidden = !isShown;
}

// Reconcile the children of `home` with `items`: one element per key, reused while the key stays.
export function reconcile(home, items, keyOf, create, update) {
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

// A row of a table. On a phone the cells are below each other, each with its heading; the roles
// keep it a table for screen readers.
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

// Link to the explanation of an error; hidden without one.
export function explain(link, reason) {
  show(link, reason !== 'none');
  link.href = `/errors#${encodeURIComponent(reason)}`;
}

// A button that copies the text of `data-copy`.
export function copyButton() {
  const button = make('button', 'copy', 'Copy');
  button.type = 'button';
  return button;
}

export function copyOnClick() {
  document.addEventListener('click', async ({ target }) => {
    if (!target.classList.contains('copy')) return;
    await navigator.clipboard.writeText(target.dataset.copy);
    write(target, 'Copied');
    setTimeout(() => write(target, 'Copy'), 1500);
  });
}
