// Lines over time, by uPlot, in the page's colours.

import { useEffect, useRef } from 'preact/hooks';
import uPlot from 'uplot';
import 'uplot/dist/uPlot.min.css';

export interface Series {
  name: string;
  color: string;
  values: readonly (number | null)[];
}

export interface ChartProps {
  label: string; // what it shows, for those who do not see it
  x: readonly number[];
  series: readonly Series[];
  height?: number;
  steps?: boolean; // values hold until the next one
  xText?: (value: number) => string;
  yText?: (value: number) => string;
  onPick?: (x: number) => void; // somebody clicked there
}

const root = document.documentElement;
const token = (name: string): string => getComputedStyle(root).getPropertyValue(name).trim();

function options(props: ChartProps, width: number): uPlot.Options {
  const axis = {
    stroke: token('--ink-soft'),
    grid: { stroke: token('--line'), width: 1 },
    ticks: { show: false },
    font: '12px system-ui, sans-serif',
  };
  const { xText, yText } = props;
  const steps = props.steps ? uPlot.paths.stepped?.({ align: 1 }) : undefined;
  return {
    width,
    height: props.height ?? 180,
    padding: [12, 12, 0, 0],
    legend: { show: false },
    cursor: { y: false, drag: { x: false, y: false } },
    scales: { x: { time: false }, y: { range: (_chart, _min, max) => [0, Math.max(1, (max ?? 1) * 1.1)] } },
    axes: [
      { ...axis, size: 30, space: 76, ...(xText && { values: (_chart: uPlot, values: number[]) => values.map(xText) }) },
      { ...axis, size: 52, ...(yText && { values: (_chart: uPlot, values: number[]) => values.map(yText) }) },
    ],
    series: [
      {},
      ...props.series.map(({ name, color }) => ({
        label: name,
        stroke: color,
        width: 2,
        points: { show: false },
        ...(steps && { paths: steps }),
      })),
    ],
  };
}

const dataOf = ({ x, series }: ChartProps): uPlot.AlignedData =>
  [x as number[], ...series.map(({ values }) => values as number[])] as uPlot.AlignedData;

export function Chart(props: ChartProps) {
  const place = useRef<HTMLDivElement>(null);
  const chart = useRef<uPlot | null>(null);
  const latest = useRef(props);
  latest.current = props;
  const shape = props.series.map(({ name, color }) => `${name}${color}`).join();

  useEffect(() => {
    const element = place.current as HTMLDivElement;
    const make = (): void => {
      chart.current?.destroy();
      const made = new uPlot(options(latest.current, element.clientWidth), dataOf(latest.current), element);
      made.over.addEventListener('click', () => {
        const { left } = made.cursor;
        if (left !== undefined && left >= 0) {
          latest.current.onPick?.(made.posToVal(left, 'x'));
        }
      });
      chart.current = made;
    };
    make();
    const resized = new ResizeObserver(() => {
      if (element.clientWidth > 0 && chart.current?.width !== element.clientWidth) {
        chart.current?.setSize({ width: element.clientWidth, height: latest.current.height ?? 180 });
      }
    });
    resized.observe(element);
    const recolored = new MutationObserver(make); // canvas has no custom properties
    recolored.observe(root, { attributeFilter: ['data-theme'] });
    return () => {
      resized.disconnect();
      recolored.disconnect();
      chart.current?.destroy();
      chart.current = null;
    };
  }, [shape]);
  useEffect(() => chart.current?.setData(dataOf(props)), [props.x, props.series]);

  return (
    <figure class="chart">
      <div ref={place} class="chart-plot" role="img" aria-label={props.label} />
      <Legend series={props.series} />
    </figure>
  );
}

function Legend({ series }: { series: readonly Series[] }) {
  return (
    <figcaption class="legend">
      {series.map(({ name, color }) => (
        <span key={name}>
          <Swatch color={color} /> {name}
        </span>
      ))}
    </figcaption>
  );
}

export function Swatch({ color }: { color: string }) {
  const element = useRef<HTMLSpanElement>(null);
  useEffect(() => element.current?.style.setProperty('--class-color', color), [color]);
  return <span ref={element} class="swatch" aria-hidden="true" />;
}
