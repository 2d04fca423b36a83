"use strict";
// Tables are sorted by the column whose head is pressed: numbers as numbers, whatever stands behind them in parentheses.
for (const table of document.querySelectorAll("table")) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.append(...head.childNodes);
    head.append(button);
    button.onclick = () => {
      const down = head.getAttribute("aria-sort") === "ascending";
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      const body = table.tBodies[0];
      const key = (row) => row.cells[column].textContent;
      // What is no number, such as ? or -, stands last.
      const number = (text) => (text.startsWith("inf") ? Infinity : parseFloat(text.replace(/\(.*?\)/, "")));
      const order = (a, b) => {
        const [x, y] = [number(key(a)), number(key(b))];
        if (isNaN(x) && isNaN(y)) return (down ? -1 : 1) * key(a).localeCompare(key(b));
        if (isNaN(x) || isNaN(y)) return isNaN(x) - isNaN(y);
        return (x === y ? 0 : x < y ? -1 : 1) * (down ? -1 : 1);
      };
      body.append(...[...body.rows].sort(order));
    };
  });
}
document.body.dataset.ready = "yes";
