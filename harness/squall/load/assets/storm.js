// Keeps the Storm page up to date: the server draws, this only puts it in place.
const SECOND = 1000;
const main = document.querySelector("main");
const away = document.querySelector("#away");
const wide = () => [...main.querySelectorAll(".wide")];

async function look() {
  try {
    const answer = await fetch("storm/now", { cache: "no-store" });
    if (!answer.ok) throw new Error(`HTTP ${answer.status}`);
    const fresh = await answer.text();
    const scrolled = wide().map((each) => each.scrollLeft);
    main.innerHTML = fresh;
    wide().forEach((each, place) => { each.scrollLeft = scrolled[place] ?? 0; });
    away.hidden = true;
  } catch {
    away.hidden = false;
  }
  setTimeout(look, document.hidden ? 5 * SECOND : SECOND);
}

setTimeout(look, SECOND);
