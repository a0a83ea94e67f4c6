// What a page can do beyond being read: filter, arrow keys, copy. Without it nothing is missing.
"use strict";

const one = (selector, within = document) => within.querySelector(selector);
const all = (selector, within = document) => [...within.querySelectorAll(selector)];

if (document.body.classList.contains("index")) index();
else cell();

function index() {
  const filter = one("#filter");
  const output = one("#count");
  const rows = all("#matrix tbody tr:not(.group)");
  const chosen = new Set();

  one("#search").hidden = false;
  one("#keys").hidden = false;
  if (matchMedia("(max-width: 40rem)").matches) one("#legend").open = false;
  one("#search").addEventListener("submit", (event) => event.preventDefault());
  filter.addEventListener("input", apply);
  all("#legend [data-class]").forEach((chip) => {
    const button = document.createElement("button");
    button.type = "button";
    button.className = chip.className;
    button.textContent = chip.textContent;
    button.setAttribute("aria-pressed", "false");
    button.addEventListener("click", () => {
      const name = chip.dataset.class;
      if (!chosen.delete(name)) chosen.add(name);
      button.setAttribute("aria-pressed", String(chosen.has(name)));
      apply();
    });
    chip.replaceWith(button);
  });

  const textOf = (row) => `${row.textContent} ${row.dataset.words} ${one("th", row).title}`.toLowerCase();
  const texts = new Map(rows.map((row) => [row, textOf(row)]));
  const heads = all("#matrix thead th");
  const names = heads.map((head) => (head.dataset.adapter ?? "").toLowerCase());

  // A word that no scenario has may be an adapter's: then it chooses columns.
  function apply() {
    const words = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
    const inRows = (word) => rows.some((row) => texts.get(row).includes(word));
    const inHeads = (word) => names.some((name) => name.includes(word));
    const ofAdapters = words.filter((word) => !inRows(word) && inHeads(word));
    const ofScenarios = words.filter((word) => !ofAdapters.includes(word));
    const hide = names.map((name) => name !== "" && ofAdapters.length > 0 && !ofAdapters.some((word) => name.includes(word)));
    heads.forEach((head, place) => head.classList.toggle("hidden", hide[place]));
    let shown = 0;
    for (const row of rows) {
      [...row.children].forEach((cell, place) => cell.classList.toggle("hidden", hide[place]));
      const links = all("td:not(.hidden) a", row);
      links.forEach((link) => {
        link.parentElement.classList.toggle("dim", chosen.size > 0 && !chosen.has(classOf(link)));
      });
      const fits = ofScenarios.every((word) => texts.get(row).includes(word));
      const wanted = chosen.size === 0 || links.some((link) => chosen.has(classOf(link)));
      row.classList.toggle("hidden", !(fits && wanted));
      shown += fits && wanted;
    }
    for (const body of all("#matrix tbody")) {
      body.classList.toggle("hidden", all("tr:not(.group):not(.hidden)", body).length === 0);
    }
    const everything = words.length === 0 && chosen.size === 0;
    output.textContent = everything ? "" : `${shown} of ${rows.length} scenarios`;
    rove(current());
  }

  // One cell takes part in the order of the tab key; the arrows move it.
  const grid = () =>
    rows
      .filter((row) => row.offsetParent !== null)
      .map((row) => all("td:not(.about):not(.hidden)", row).map((cell) => one("a", cell)));
  const links = all("#matrix td a");
  const current = () => links.find((link) => link.tabIndex === 0 && link.offsetParent !== null);

  function rove(to) {
    const next = to ?? grid().flat().find(Boolean);
    links.forEach((link) => { link.tabIndex = link === next ? 0 : -1; });
    return next;
  }

  function move(down, right) {
    const cells = grid();
    const here = document.activeElement;
    let y = cells.findIndex((row) => row.includes(here));
    if (y < 0) { rove(current())?.focus(); return; }
    let x = cells[y].indexOf(here);
    do {
      y += down;
      x += right;
      if (!cells[y] || x < 0 || x >= cells[y].length) return;
    } while (!cells[y][x]);
    rove(cells[y][x]).focus();
  }

  const arrows = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const typing = document.activeElement === filter;
    if (event.key === "/" && !typing) {
      event.preventDefault();
      filter.focus();
      filter.select();
    } else if (event.key === "Escape") {
      if (filter.value) { filter.value = ""; apply(); }
      document.activeElement?.blur();
    } else if (typing && event.key === "Enter") {
      rove(current())?.focus();
    } else if (!typing && event.key in arrows) {
      event.preventDefault();
      move(...arrows[event.key]);
    }
  });
  all("#matrix td a").forEach((link) => link.addEventListener("focus", () => rove(link)));

  rove();
  const back = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (back) rove(back).focus();
}

function classOf(link) {
  return link.firstChild.textContent;
}

function cell() {
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && !event.ctrlKey && !event.metaKey) one("#up").click();
  });
  const command = one("pre.copy");
  if (!command || !navigator.clipboard) return;
  const button = document.createElement("button");
  button.type = "button";
  button.className = "copy";
  button.textContent = "Copy";
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(command.textContent);
    button.textContent = "Copied";
  });
  command.previousElementSibling.append(button);
}
