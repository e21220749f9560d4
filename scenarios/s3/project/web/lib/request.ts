import { z } from 'zod';

export const Classify = z.object({ core: z.string().min(1), millimetres: z.array(z.number().positive()).max(1000) });
