// A table of four columns or more becomes a list of cards on a phone; each cell then says what it is.
for (const table of document.querySelectorAll("table.docutils")) {
  const heads = [...table.querySelectorAll("thead th")].map((head) => head.textContent.trim());
  if (heads.length < 4) continue;
  table.classList.add("stacked");
  for (const row of table.querySelectorAll("tbody tr")) {
    [...row.cells].forEach((cell, column) => (cell.dataset.label = heads[column] ?? ""));
  }
}

// What scrolls sideways can be reached by keyboard.
function reach() {
  for (const box of document.querySelectorAll(".highlight pre, .table-wrapper, .cell_output, .picture, .math-wrapper")) {
    if (box.scrollWidth > box.clientWidth && !box.matches(":has(a, button, [tabindex])")) {
      box.tabIndex = 0;
    }
  }
}
addEventListener("load", reach);
addEventListener("resize", reach);
