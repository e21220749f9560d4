import { createServer } from 'node:http';
import { createInterface } from 'node:readline';
import { Client, Events, GatewayIntentBits } from 'discord.js';
import { pino } from 'pino';
import { answer } from './commands/index.js';
import { readSettings } from './config.js';

const settings = readSettings(process.env);
const log = pino({ level: settings.LOG_LEVEL }, pino.destination(2));
const context = { settings, startedAt: Date.now() };

/** Chat on standard input and output, for trying the bot without Discord. */
async function console_(): Promise<void> {
  for await (const line of createInterface({ input: process.stdin })) {
    const said = await answer(context, line);
    if (said !== null) process.stdout.write(`${said}\n`);
  }
}

async function discord(token: string): Promise<void> {
  const client = new Client({ intents: [GatewayIntentBits.Guilds, GatewayIntentBits.GuildMessages, GatewayIntentBits.MessageContent] });
  client.once(Events.ClientReady, (ready) => log.info({ user: ready.user.tag }, 'connected'));
  client.on(Events.MessageCreate, async (message) => {
    if (message.author.bot) return;
    const said = await answer(context, message.content);
    if (said !== null) await message.reply(said);
  });
  createServer((request, response) => {
    const healthy = request.url === '/healthz' && client.isReady();
    response.writeHead(healthy ? 200 : 503).end(healthy ? 'ok\n' : 'not connected\n');
  }).listen(settings.PORT);
  await client.login(token);
}

if (process.argv.includes('--console')) {
  await console_();
} else if (settings.DISCORD_TOKEN) {
  await discord(settings.DISCORD_TOKEN);
} else {
  log.error('DISCORD_TOKEN is not set; --console talks here');
  process.exit(1);
}
