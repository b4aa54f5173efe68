// Shows the values of a chart at the pointer, or where the arrow keys have moved the cursor. Without
// scripts the page lacks nothing else.
'use strict';
const data = JSON.parse(document.getElementById('data').textContent);
const cursors = document.querySelectorAll('.cursor');
const moveCursors = (path) => {
  for (const cursor of cursors) cursor.setAttribute('d', path);
};
for (const figure of document.querySelectorAll('figure.chart')) {
  const chart = data.charts[Number(figure.dataset.chart)];
  const svg = figure.querySelector('svg');
  const output = figure.querySelector('output');
  let shown = -1;
  const show = (column) => {
    shown = Math.max(0, Math.min(data.x.length - 1, column));
    const x = data.x[shown];
    moveCursors(`M${x} 0V100`);
    output.textContent = `${data.moment[shown]}\nin use ${chart.in_use[shown]}\n` +
        `committed ${chart.committed[shown]}\npeak ${chart.peak[shown]}`;
    // Beside the cursor, on the side that has more room.
    output.style.left = x <= 500 ? `calc(${x / 10}% + .5rem)` : 'auto';
    output.style.right = x <= 500 ? 'auto' : `calc(${100 - x / 10}% + .5rem)`;
  };
  const hide = () => {
    shown = -1;
    moveCursors('');
    output.textContent = '';
  };
  svg.addEventListener('pointermove', (event) => {
    const box = svg.getBoundingClientRect();
    const x = 1000 * (event.clientX - box.left) / box.width;
    const column = data.x.findIndex((right) => right >= x);
    show(column < 0 ? data.x.length - 1 : column);
  });
  svg.addEventListener('pointerleave', hide);
  figure.addEventListener('keydown', (event) => {
    const target = {
      ArrowLeft: shown - 1, ArrowRight: shown + 1, PageUp: shown - 20, PageDown: shown + 20,
      Home: 0, End: data.x.length - 1
    }[event.key];
    if (event.key === 'Escape') hide();
    if (target === undefined) return;
    event.preventDefault();
    show(target);
  });
  figure.addEventListener('blur', hide);
}
