export interface Layer {
  year: number;
  millimetres: number;
}

/** The last `count` years of a core, from a fixed series. */
export function sample(count: number): Layer[] {
  const last = 2023;
  return Array.from({ length: count }, (_, index) => ({
    year: last - index,
    millimetres: 1 + ((index * 7919) % 13) / 4,
  }));
}
