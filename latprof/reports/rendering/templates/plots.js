// Draws every figure of the page, in the colours of the page, and again when the theme changes.
(function () {
  "use strict";
  var specifications = JSON.parse(document.getElementById("figures").textContent);
  var plots = Array.prototype.slice.call(document.querySelectorAll("[data-figure]"));
  // A finger on a plot scrolls the page; it shall not zoom the plot by accident.
  var touch = window.matchMedia("(pointer: coarse)").matches;

  function configured(plot) {
    return {
      responsive: true,
      displaylogo: false,
      displayModeBar: touch || isNarrow(plot) ? false : "hover",
      // Only these: one of plotly's own buttons sends the plot to a web site.
      modeBarButtons: [["toImage"], ["zoom2d", "pan2d"], ["zoomIn2d", "zoomOut2d", "resetScale2d"]],
      plotlyServerURL: "",
    };
  }

  function themed(value, style) {
    if (Array.isArray(value)) {
      return value.map(function (part) { return themed(part, style); });
    }
    if (value === null || typeof value !== "object") {
      return value;
    }
    var result = {};
    Object.keys(value).forEach(function (key) {
      var part = value[key];
      var isRole = /color$/i.test(key) && typeof part === "string" && part.charAt(0) === "@";
      result[key] = isRole
        ? style.getPropertyValue("--" + part.slice(1)).trim()
        : themed(part, style);
    });
    return result;
  }

  function isNarrow(plot) {
    return plot.clientWidth < 520;
  }

  function fitted(layout, plot) {
    if (isNarrow(plot)) {
      layout.font.size = 11;
      // Only on a narrow page does the plot begin below its caption.
      var top = window.innerWidth > 560 ? layout.margin.t : 12;
      layout.margin = { l: 44, r: 8, t: top, b: 40 };
    }
    if ("square" in plot.dataset) {
      layout.height = Math.min(layout.height, plot.clientWidth + 50);
      plot.style.height = layout.height + "px";
    }
    if (touch) {
      layout.dragmode = false;
    }
    return layout;
  }

  function draw(plot) {
    var style = getComputedStyle(document.documentElement);
    var figure = themed(specifications[plot.dataset.figure], style);
    Plotly.react(plot, figure.data, fitted(figure.layout, plot), configured(plot));
  }

  function drawAll() {
    plots.forEach(draw);
  }

  drawAll();
  window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAll);
})();
