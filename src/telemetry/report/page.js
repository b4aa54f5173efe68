// Tells what a chart shows where one points, or goes with the arrow keys. All else is there without.
'use strict';
const charts = JSON.parse(document.getElementById('data').textContent);
for (const figure of document.querySelectorAll('figure.chart')) {
  const columns = charts[Number(figure.dataset.chart)];
  const svg = figure.querySelector('svg');
  const cursor = figure.querySelector('.cursor');
  const output = figure.querySelector('output');
  let shown = -1;
  const show = (column) => {
    shown = Math.max(0, Math.min(columns.x.length - 1, column));
    cursor.setAttribute('d', `M${columns.x[shown]} 0V100`);
    output.textContent = columns.text[shown];
  };
  const hide = () => {
    shown = -1;
    cursor.setAttribute('d', '');
    output.textContent = '';
  };
  svg.addEventListener('pointermove', (event) => {
    const box = svg.getBoundingClientRect();
    const x = 1000 * (event.clientX - box.left) / box.width;
    const column = columns.x.findIndex((right) => right >= x);
    show(column < 0 ? columns.x.length - 1 : column);
  });
  svg.addEventListener('pointerleave', hide);
  figure.addEventListener('keydown', (event) => {
    const step = {ArrowLeft: -1, ArrowRight: 1, PageUp: -20, PageDown: 20}[event.key];
    if (step === undefined) return;
    event.preventDefault();
    show(shown + step);
  });
  figure.addEventListener('blur', hide);
}
