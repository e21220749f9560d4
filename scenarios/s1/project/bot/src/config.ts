import { z } from 'zod';

const Settings = z.object({
  DISCORD_TOKEN: z.string().optional(),
  AUDIO_URL: z.string().url().default('http://audio:2333'),
  PORT: z.coerce.number().int().positive().default(3000),
  LOG_LEVEL: z.enum(['debug', 'info', 'warn', 'error']).default('info'),
});

export type Settings = z.infer<typeof Settings>;

export function readSettings(env: NodeJS.ProcessEnv): Settings {
  return Settings.parse(env);
}
