import { z } from 'zod';
import type { Command } from './command.js';

const Dice = z.string().regex(/^\d{1,2}d\d{1,3}$/);

export const roll: Command = {
  name: 'roll',
  description: 'Rolls dice, such as 2d6',
  run: async (_context, argument) => {
    const dice = Dice.safeParse(argument || '1d6');
    if (!dice.success) return 'dice are written as 2d6';
    const [count, sides] = dice.data.split('d').map(Number);
    const rolls = Array.from({ length: count }, () => 1 + Math.floor(Math.random() * sides));
    return `${rolls.join(' + ')} = ${rolls.reduce((sum, value) => sum + value, 0)}`;
  },
};
