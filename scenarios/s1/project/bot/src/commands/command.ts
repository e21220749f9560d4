import type { Settings } from '../config.js';

export interface Context {
  settings: Settings;
  startedAt: number;
}

export interface Command {
  name: string;
  description: string;
  run(context: Context, argument: string): Promise<string>;
}
