import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import express from 'express';
import { renderToString } from 'react-dom/server';
import { Classify } from '../lib/request';
import { page } from './pages';

const model = process.env.MODEL_URL ?? 'http://127.0.0.1:8000';
const app = express();
app.disable('x-powered-by');
app.use('/static', express.static(join(dirname(fileURLToPath(import.meta.url)), 'static'), { maxAge: '1h' }));

app.post('/api/classify', express.json(), async (request, response) => {
  const wanted = Classify.safeParse(request.body);
  if (!wanted.success) return response.status(400).json({ error: wanted.error.issues });
  const answer = await fetch(`${model}/classify`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(wanted.data),
  });
  return response.status(answer.status).json(await answer.json());
});

app.get('*', (request, response) => {
  const found = page(request.path);
  const body = found ? renderToString(found) : 'not found';
  response
    .status(found ? 200 : 404)
    .send(`<!doctype html><title>Sediment</title><div id="root">${body}</div><script src="/static/client.js"></script>`);
});

app.listen(Number(process.env.PORT ?? 3000));
