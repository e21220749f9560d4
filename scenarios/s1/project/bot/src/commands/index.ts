import type { Command, Context } from './command.js';
import { ping } from './ping.js';
import { play } from './play.js';
import { roll } from './roll.js';

export const commands = new Map<string, Command>([ping, play, roll].map((command) => [command.name, command]));

/** The answer to a line of chat; null where it is no command. */
export async function answer(context: Context, line: string): Promise<string | null> {
  if (!line.startsWith('!')) return null;
  const [name, ...rest] = line.slice(1).trim().split(/\s+/);
  if (name === 'help') return [...commands.values()].map((c) => `!${c.name}: ${c.description}`).join('\n');
  const command = commands.get(name);
  return command ? command.run(context, rest.join(' ')) : `there is no !${name}; try !help`;
}
