// A chart by uPlot, drawn in the page's colours; its figures are told in words beside it.

import { useEffect, useRef } from "react";
import uPlot from "uplot";
import { useLocale } from "./context";
import "uplot/dist/uPlot.min.css";

export interface Line {
  label: string;
  color: "good" | "bad" | "open" | "accent";
  values: (number | null)[];
}

/** A colour of the page as a canvas takes it: `light-dark()` is resolved only where it is used. */
function colour(element: HTMLElement, name: string): string {
  element.style.setProperty("color", `var(--${name})`);
  const { color } = getComputedStyle(element);
  element.style.removeProperty("color");
  return color;
}

const STEPS = [1, 10, 60, 600, 3600, 36_000];

interface Drawn {
  label: string;
  /** Seconds since 1970. */
  times: number[];
  lines: Line[];
  bars?: boolean;
  /** How seconds are written beside an axis on which seconds and hours both have room. */
  unit?: (value: number) => string;
}

export function Chart({ times, lines, label, bars, unit }: Drawn) {
  const place = useRef<HTMLDivElement>(null);
  const { hour } = useLocale();
  useEffect(() => {
    const element = place.current;
    if (!element) return;
    const draw = () => {
      const stroke = colour(element, "ink-soft");
      const grid = { stroke: colour(element, "line"), width: 1 };
      const paths = bars ? uPlot.paths.bars?.({ size: [0.7, 40] }) : undefined;
      return new uPlot(
        {
          width: element.clientWidth || 320,
          height: 160,
          legend: { show: false },
          cursor: { show: false },
          axes: [
            { stroke, grid, space: 70, size: 30, values: (_, splits) => splits.map(hour) },
            unit ? { stroke, grid, size: 64, splits: () => STEPS, filter: (_, splits) => splits, values: (_, splits) => splits.map(unit) } : { stroke, grid, size: 48 },
          ],
          scales: {
            y: unit ? { distr: 3, range: (_, __, max) => [1, Math.max(max, 60)] } : { range: (_, __, max) => [0, Math.max(max, 1)] },
          },
          series: [
            {},
            ...lines.map((line) => {
              const ink = colour(element, line.color);
              return { label: line.label, stroke: ink, width: bars ? 0 : 2, points: { show: false }, ...(bars ? { fill: ink, paths } : {}) };
            }),
          ],
        },
        [times, ...lines.map((line) => line.values)],
        element,
      );
    };
    let plot = draw();
    const redraw = () => {
      plot.destroy();
      plot = draw();
    };
    const scheme = matchMedia("(prefers-color-scheme: dark)");
    const size = new ResizeObserver(() => plot.setSize({ width: element.clientWidth || 320, height: 160 }));
    scheme.addEventListener("change", redraw);
    size.observe(element);
    return () => {
      scheme.removeEventListener("change", redraw);
      size.disconnect();
      plot.destroy();
    };
  }, [times, lines, bars, unit, hour]);
  return (
    <figure className="chart">
      <figcaption>
        {label}
        <span className="legend">
          {lines.map((line) => (
            <span key={line.label}>
              <i className={line.color} aria-hidden="true" />
              {line.label}
            </span>
          ))}
        </span>
      </figcaption>
      <div ref={place} role="img" aria-label={`${label}: ${lines.map((line) => line.label).join(", ")}`} />
    </figure>
  );
}
