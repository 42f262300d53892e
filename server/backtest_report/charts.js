// Draws the charts of the page from the data embedded in it. Colours follow the reader's colour scheme.
"use strict";
(() => {
  const page = JSON.parse(document.getElementById("chart-data").textContent);
  const utc = (seconds) => uPlot.tzDate(new Date(seconds * 1000), "Etc/UTC");
  const figure = (digits) => new Intl.NumberFormat("en", {
    minimumFractionDigits: digits, maximumFractionDigits: digits, signDisplay: "negative",
  });
  const whole = figure(0), two = figure(2), three = figure(3);
  const short = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });
  const legends = {
    usd: (value) => whole.format(value),
    percent: (value) => `${two.format(100 * value)} %`,
    times: (value) => `${two.format(value)}x`,
    plain: (value) => three.format(value),
  };
  const ticks = {
    usd: (value) => short.format(value),
    percent: (value) => `${+(100 * value).toFixed(3)} %`,
    times: (value) => `${+value.toFixed(3)}x`,
    plain: (value) => `${+value.toFixed(3)}`,
  };
  const style = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  // The day in UTC; where ticks are months apart, the month.
  const date = (seconds, step) => new Date(seconds * 1000).toISOString().slice(0, step >= 28 * 86400 ? 7 : 10);
  const known = (value) => value !== null && value !== undefined;

  function stack(chart, shown) {
    const total = page.seconds.map(() => 0);
    return chart.series.map((series, index) => {
      if (!shown[index]) return series.values.map(() => null);
      return series.values.map((value, day) => (total[day] += value ?? 0));
    });
  }

  // The band of each series reaches down to the nearest one below it that is shown.
  function bands(shown) {
    const found = [];
    let below = -1;
    shown.forEach((on, index) => {
      if (!on) return;
      if (below >= 0) found.push({ series: [index + 1, below + 1] });
      below = index;
    });
    return found;
  }

  function shade(plot, chart) {
    if (!chart.shaded.length) return;
    const { ctx, bbox } = plot, seconds = page.seconds;
    ctx.save();
    ctx.beginPath();
    ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height);
    ctx.clip();
    ctx.fillStyle = style("--shade");
    for (let day = 0; day < seconds.length; day++) {
      if (!chart.shaded[day]) continue;
      const first = day;
      while (day + 1 < seconds.length && chart.shaded[day + 1]) day++;
      const left = plot.valToPos(seconds[first] - 43200, "x", true);
      const right = plot.valToPos(seconds[day] + 43200, "x", true);
      ctx.fillRect(left, bbox.top, Math.max(right - left, 1), bbox.height);
    }
    ctx.restore();
  }

  function overlay(plot, chart) {
    const { ctx, bbox } = plot, ratio = devicePixelRatio;
    ctx.save();
    ctx.font = `${11 * ratio}px system-ui, sans-serif`;
    ctx.textAlign = "left";
    ctx.textBaseline = "alphabetic";
    ctx.lineWidth = ratio;
    ctx.strokeStyle = ctx.fillStyle = style("--bad");
    for (const line of chart.lines) {
      if (line.at < plot.scales.y.min || line.at > plot.scales.y.max) continue;
      const y = plot.valToPos(line.at, "y", true);
      ctx.setLineDash([4 * ratio, 4 * ratio]);
      ctx.beginPath();
      ctx.moveTo(bbox.left, y);
      ctx.lineTo(bbox.left + bbox.width, y);
      ctx.stroke();
      ctx.fillText(`${line.label} ${line.at}`, bbox.left + 6 * ratio, y - 4 * ratio);
    }
    const bottom = bbox.top + bbox.height;
    for (const day of chart.marked) {
      const x = plot.valToPos(page.seconds[day], "x", true);
      if (x < bbox.left || x > bbox.left + bbox.width) continue;
      ctx.beginPath();
      ctx.moveTo(x, bottom - 9 * ratio);
      ctx.lineTo(x - 4 * ratio, bottom);
      ctx.lineTo(x + 4 * ratio, bottom);
      ctx.fill();
    }
    ctx.restore();
  }

  // Stacks start at zero; a chart that names a span always shows it whole.
  function range(chart) {
    if (chart.stacked) return { range: (_, __, top) => [0, (top || 1) * 1.05] };
    if (!chart.span) return {};
    const [low, high] = chart.span;
    return { range: (_, least, most) => [Math.min(least ?? low, low), Math.max(most ?? high, high)] };
  }

  function options(chart, width, shown) {
    const last = page.seconds.length - 1;
    const axis = {
      stroke: style("--quiet"), font: "12px system-ui, sans-serif",
      grid: { stroke: style("--grid"), width: 1 }, ticks: { stroke: style("--grid"), width: 1 },
    };
    const series = chart.series.map((one, index) => {
      const colour = style(`--s${(index % 12) + 1}`);
      return {
        label: one.label, stroke: colour, width: chart.stacked ? 0.75 : index === 0 ? 2 : 1.25,
        fill: chart.stacked ? colour + "b0" : undefined, points: { show: page.seconds.length < 3 },
        show: shown[index],
        value: (plot, _, __, day) => {
          const value = one.values[known(day) ? day : last];
          return known(value) ? legends[chart.unit](value) : "\u2013";
        },
      };
    });
    return {
      width, height: chart.stacked ? 320 : 250, tzDate: utc,
      cursor: { sync: { key: "days", setSeries: false }, y: false, points: { show: !chart.stacked } },
      scales: { x: { time: true }, y: range(chart) },
      bands: chart.stacked ? bands(shown) : [],
      axes: [
        { ...axis, space: 84, values: (_, splits, __, ___, step) => splits.map((at) => date(at, step)) },
        { ...axis, size: 64, values: (_, splits) => splits.map(ticks[chart.unit]) },
      ],
      series: [{
        label: "Day",
        value: (plot, _, __, day) => {
          const at = page.seconds[known(day) ? day : last];
          return known(at) ? date(at, 0) : "\u2013";
        },
      }, ...series],
      hooks: { drawClear: [(plot) => shade(plot, chart)], draw: [(plot) => overlay(plot, chart)] },
    };
  }

  function draw(place) {
    const chart = page.charts.find((one) => one.id === place.dataset.chart);
    const shown = chart.series.map(() => true);
    let plot = null;
    if (!page.seconds.length || !chart.series.length) {
      place.querySelector("p").textContent = "There is nothing to draw.";
      return;
    }
    const data = () => [
      page.seconds, ...(chart.stacked ? stack(chart, shown) : chart.series.map((one) => one.values)),
    ];
    const build = () => {
      if (plot) plot.destroy();
      place.replaceChildren();
      const made = options(chart, place.clientWidth, shown);
      made.hooks.setSeries = [(_, index, change) => {
        if (index === null || change.show === undefined) return;
        shown[index - 1] = change.show;
        if (!chart.stacked) return;
        plot.delBand(null);
        bands(shown).forEach((band) => plot.addBand(band));
        plot.setData(data());
      }];
      plot = new uPlot(made, data(), place);
    };
    build();
    new ResizeObserver(() => {
      if (plot.width !== place.clientWidth) plot.setSize({ width: place.clientWidth, height: plot.height });
    }).observe(place);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", build);
  }

  document.querySelectorAll("[data-chart]").forEach(draw);
})();
