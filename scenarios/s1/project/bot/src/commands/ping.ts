import type { Command } from './command.js';

export const ping: Command = {
  name: 'ping',
  description: 'Says that the bot is there',
  run: async (context) => `pong, up for ${Math.round((Date.now() - context.startedAt) / 1000)} s`,
};
