// Keeps the Storm page up to date: the server draws, this only puts it in place.
const SECOND = 1000;
const main = document.querySelector("main");
const away = document.querySelector("#away");

async function look() {
  try {
    const answer = await fetch("storm/now", { cache: "no-store" });
    if (!answer.ok) throw new Error(`HTTP ${answer.status}`);
    main.innerHTML = await answer.text();
    away.hidden = true;
  } catch {
    away.hidden = false;
  }
  setTimeout(look, document.hidden ? 5 * SECOND : SECOND);
}

setTimeout(look, SECOND);
