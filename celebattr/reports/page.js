"use strict";
// The page reads without this script; it adds the theme's button, sorting, and choosing a curve.

const root = document.documentElement;

// Theme: the system's, until the button is used.
const button = document.getElementById("theme");
const system = matchMedia("(prefers-color-scheme: dark)");
const isDark = () => (root.dataset.theme ? root.dataset.theme === "dark" : system.matches);
const label = () => { button.textContent = isDark() ? "Light theme" : "Dark theme"; };
button.addEventListener("click", () => {
  root.dataset.theme = isDark() ? "light" : "dark";
  label();
});
system.addEventListener("change", label);
button.hidden = false;
label();

// Tables: a button in each header sorts by its column, numbers downwards first, undefined last.
for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[0].cells];
  const body = table.tBodies[0];
  const status = document.getElementById(table.dataset.status);
  for (const [column, head] of heads.entries()) {
    const text = head.textContent.trim();
    const sort = document.createElement("button");
    sort.type = "button";
    sort.append(...head.childNodes);
    head.append(sort);
    sort.addEventListener("click", () => {
      const numbers = head.dataset.kind === "number";
      const before = head.getAttribute("aria-sort");
      const rising = before ? before === "descending" : !numbers;
      const key = (row) => row.cells[column].dataset.value;
      const compare = numbers
        ? (a, b) => Number(a) - Number(b)
        : (a, b) => a.localeCompare(b, "en", { numeric: true });
      const rows = [...body.rows];
      const known = rows.filter((row) => key(row) !== "");
      known.sort((a, b) => (rising ? 1 : -1) * compare(key(a), key(b)));
      body.append(...known, ...rows.filter((row) => key(row) === ""));
      for (const other of heads) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", rising ? "ascending" : "descending");
      status.textContent = `Sorted by ${text}, ${rising ? "lowest" : "highest"} first`;
    });
  }
}

// Curves: the charts hold those of every attribute, and one attribute's are shown.
const choice = document.getElementById("choice");
if (choice) {
  const show = () => {
    for (const part of document.querySelectorAll("[data-series]")) {
      part.classList.toggle("shown", part.dataset.series === choice.value);
    }
    const name = choice.selectedOptions[0].textContent.trim();
    for (const chart of document.querySelectorAll("#curves svg.chart")) {
      const title = chart.querySelector("title");
      title.dataset.what ??= title.textContent;
      title.textContent = `${title.dataset.what} of ${name}`;
    }
  };
  choice.addEventListener("change", show);
  show();
}

// What is folded away belongs on paper too.
addEventListener("beforeprint", () => {
  for (const part of document.querySelectorAll("details")) part.open = true;
});
