// The inputs of the action as varve's flags, as docker/build-push-action turns them into Buildx's.
// Pure functions, tested by action/inputs.test.mjs.

// A list as the action's own takes it: CSV records, one a line. A field may be quoted as a whole, and has
// line breaks then; quotes anywhere else are text.
export function parseCsv(text) {
  const records = [];
  let record = [], field = '', quoted = false, started = false;
  const endField = () => { record.push(field); field = ''; started = false; };
  const endRecord = () => { endField(); records.push(record); record = []; };
  for (let i = 0; i < text.length; ++i) {
    const c = text[i];
    if (quoted) {
      if (c !== '"') field += c;
      else if (text[i + 1] === '"') { field += '"'; ++i; }
      else quoted = false;
    } else if (c === '"' && !started) {
      quoted = started = true;
    } else if (c === ',') {
      endField();
    } else if (c === '\n') {
      endRecord();
    } else if (c !== '\r') {
      field += c;
      started = true;
    }
  }
  endRecord();
  return records;
}

// `commas`: they separate items as line breaks do; else they are part of them.
export function list(text, { commas = false, trim = true, quotes = true } = {}) {
  const records = quotes ? parseCsv(text) : text.split('\n').map((line) => [line]);
  const items = commas ? records.flat() : records.map((record) => record.join(','));
  return items.map((item) => (trim ? item.trim() : item)).filter((item) => item.trim() !== '');
}

// YAML 1.2's core schema, as the runner's own functions take it.
export function bool(name, text) {
  if (['true', 'True', 'TRUE'].includes(text)) return true;
  if (['', 'false', 'False', 'FALSE'].includes(text)) return false;
  throw new Error(`input ${name}: "${text}" is neither true nor false`);
}

// Of variables, which are Go's: strconv.ParseBool.
export const goTrue = (text) => ['1', 't', 'T', 'true', 'TRUE', 'True'].includes(text);
export const goFalse = (text) => ['0', 'f', 'F', 'false', 'FALSE', 'False'].includes(text);

// This repository at this commit; varve fetches it by git. `event` is the payload of what started the workflow.
export function defaultContext(env, event = {}) {
  let pin = env.GITHUB_SHA || '';
  if (pin === '' && env.GITHUB_REF) pin = env.GITHUB_REF.startsWith('refs/') ? env.GITHUB_REF : `refs/heads/${env.GITHUB_REF}`;
  // GITHUB_SHA of a pull request is a merge of it into its base.
  const wanted = env.DOCKER_DEFAULT_GIT_CONTEXT_PR_HEAD_REF || '';
  const head = event.pull_request?.head?.sha;
  if (goTrue(wanted) && /^refs\/pull\/\d+\/merge$/.test(env.GITHUB_REF || '') && head) pin = head;
  return `${env.GITHUB_SERVER_URL || 'https://github.com'}/${env.GITHUB_REPOSITORY}.git${pin ? '#' + pin : ''}`;
}

// ID=VALUE at the first '='. Nothing for what has no ID or no value.
export function keyValue(text) {
  const at = text.indexOf('=');
  if (at <= 0 || at === text.length - 1) return undefined;
  return [text.slice(0, at), text.slice(at + 1)];
}

// A provenance attestation says which run has built the image, unless it says something else.
export function provenance(text, env) {
  if (['', 'false', 'False', 'FALSE'].includes(text) || /(^|,)builder-id=/.test(text)) return text.toLowerCase() === 'false' ? 'false' : text;
  const run = `builder-id=${env.GITHUB_SERVER_URL || 'https://github.com'}/${env.GITHUB_REPOSITORY}/actions/runs/` +
    `${env.GITHUB_RUN_ID}/attempts/${env.GITHUB_RUN_ATTEMPT || 1}`;
  if (!env.GITHUB_RUN_ID || /(^|,)disabled=(true|1)/.test(text)) return text;
  return ['true', 'True', 'TRUE'].includes(text) ? run : `${text},${run}`;
}

// What the token lets this job do with GitHub's cache: [{ scope: "refs/heads/main", access: "read/write" }, …].
export function cacheScopes(token) {
  const payload = JSON.parse(Buffer.from(token.split('.')[1] || '', 'base64url').toString());
  const access = { 1: 'read', 2: 'write', 3: 'read/write' };
  return JSON.parse(payload.ac || '[]').map(({ Scope, Permission }) => ({ scope: Scope, access: access[Permission] || `${Permission}` }));
}

// What goes after `varve build`. `files` writes a secret to a file and returns its path; `warn` takes a
// line. `get(name)` is an input, '' without it.
export function buildArguments(get, env, files, warn, event = {}) {
  const args = [];
  const each = (flag, name, options) => {
    for (const item of list(get(name), options)) args.push(flag, item);
  };
  const one = (flag, name) => {
    if (get(name) !== '') args.push(flag, get(name));
  };
  const rebuild = bool('rebuild-cache', get('rebuild-cache'));
  const repository = defaultContext(env, event);
  const template = (text) => text.replaceAll(/\{\{\s*defaultContext\s*\}\}/g, repository);
  const context = template(get('context')) || repository;

  each('--add-host', 'add-hosts', { commas: true });
  each('--allow', 'allow', { commas: true });
  each('--annotation', 'annotations');
  each('--build-arg', 'build-args');
  for (const item of list(get('build-contexts'))) args.push('--build-context', template(item));
  each('--cache-from', 'cache-from');
  each('--cache-to', 'cache-to');
  one('--call', 'call');
  one('--cgroup-parent', 'cgroup-parent');
  one('--file', 'file');
  each('--label', 'labels');
  each('--no-cache-filter', 'no-cache-filters', { commas: true });
  each('--output', 'outputs', { quotes: false });
  const platforms = list(get('platforms'), { commas: true });
  if (platforms.length > 0) args.push('--platform', platforms.join(','));
  for (const item of list(get('attests'))) {
    const type = /(?:^|,)type=([a-z]+)/.exec(item)?.[1];
    // The input of its own wins.
    if (type === 'provenance' && get('provenance') === '') args.push('--attest', provenance(item, env));
    else if (type !== 'provenance' && !(type === 'sbom' && get('sbom') !== '')) args.push('--attest', item);
  }
  if (get('provenance') !== '') args.push(`--provenance=${provenance(get('provenance'), env)}`);
  if (get('sbom') !== '') args.push(`--sbom=${get('sbom')}`);
  for (const item of list(get('secrets'), { trim: false })) {
    const secret = keyValue(item);
    if (secret) args.push('--secret', `id=${secret[0]},src=${files.write(secret[1])}`);
    else warn(`${item.split('=')[0]} is not a valid secret: ID=VALUE is expected`);
  }
  for (const item of list(get('secret-envs'), { commas: true })) {
    const secret = keyValue(item);
    if (secret) args.push('--secret', `id=${secret[0]},env=${secret[1]}`);
    else warn(`${item} is not a valid secret: ID=VARIABLE is expected`);
  }
  for (const item of list(get('secret-files'))) {
    const secret = keyValue(item);
    if (!secret) warn(`${item} is not a valid secret: ID=FILE is expected`);
    else if (!files.exists(secret[1])) warn(`the secret file ${secret[1]} does not exist`);
    else args.push('--secret', `id=${secret[0]},src=${secret[1]}`);
  }
  const token = get('github-token');
  const own = list(get('secrets'), { trim: false }).some((item) => item.startsWith('GIT_AUTH_TOKEN='));
  if (token !== '' && !own && context.startsWith(repository)) {
    const host = new URL(env.GITHUB_SERVER_URL || 'https://github.com').host;
    args.push('--secret', `id=GIT_AUTH_TOKEN.${host},src=${files.write(token)}`);
  }
  one('--shm-size', 'shm-size');
  each('--ssh', 'ssh', { commas: true });
  each('--tag', 'tags', { commas: true });
  one('--target', 'target');
  each('--ulimit', 'ulimit');

  one('--builder', 'builder');
  if (bool('load', get('load'))) args.push('--load');
  one('--metrics-push', 'metrics-push');
  one('--network', 'network');
  if (bool('no-cache', get('no-cache'))) args.push('--no-cache');
  if (bool('pull', get('pull')) || rebuild) args.push('--pull');
  if (bool('push', get('push'))) args.push('--push');
  if (rebuild) args.push('--rebuild-cache');
  const miss = get('fail-on-cache-miss');
  if (['true', 'True', 'TRUE'].includes(miss)) args.push('--fail-on-cache-miss');
  else if (!['', 'false', 'False', 'FALSE'].includes(miss)) {
    for (const step of list(miss)) args.push(`--fail-on-cache-miss=${step}`);
  }
  return { args, context };
}

// The same build for `varve verify`, which writes nothing and reads no cache.
export function verifyArguments(args) {
  const dropped = new Set(['--cache-from', '--cache-to', '--output', '--call', '--builder', '--metrics-push']);
  const out = [];
  for (let i = 0; i < args.length; ++i) {
    if (dropped.has(args[i])) ++i;
    else if (!['--push', '--load', '--no-cache', '--rebuild-cache'].includes(args[i]) && !args[i].startsWith('--fail-on-cache-miss')) {
      out.push(args[i]);
    }
  }
  return out;
}

// https://docs.github.com/actions/reference/workflows-and-actions/workflow-commands
const data = (text) => String(text).replaceAll('%', '%25').replaceAll('\r', '%0D').replaceAll('\n', '%0A');
const property = (text) => data(text).replaceAll(':', '%3A').replaceAll(',', '%2C');
export function command(name, properties, text) {
  const parts = Object.entries(properties).filter(([, value]) => value !== undefined && value !== '')
    .map(([key, value]) => `${key}=${property(value)}`);
  return `::${name}${parts.length > 0 ? ' ' + parts.join(',') : ''}::${data(text)}`;
}

// A warning of the build's report at its line of the repository.
export function annotation(warning, dockerfile) {
  const text = warning.text.replace(/ \(line \d+\)$/, '');
  const rule = /^([A-Za-z]+): /.exec(text);
  let message = text;
  if (warning.remedy) message += `\n${warning.remedy}`;
  if (warning.url) message += `\nMore info: ${warning.url}`;
  return command('warning', { file: dockerfile, line: warning.line, title: rule ? rule[1] : 'varve' }, message);
}

// The warnings of `--call check,format=json` as those of a build's report.
export function warningsOfCheck(document) {
  return (document.warnings || []).map((warning) => ({
    text: `${warning.ruleName}: ${warning.detail}`, url: warning.url, line: warning.location?.ranges?.[0]?.start?.line || 0 }));
}

// Where a build's Dockerfile is in the repository; undefined: not in it.
export function dockerfileInRepository(get, context, env, event = {}) {
  const file = get('file');
  const fallback = defaultContext(env, event);
  let path;
  if (context.startsWith(fallback)) {
    // "#commit:folder"
    const folder = context.slice(fallback.length).replace(/^:/, '');
    path = `${folder ? folder + '/' : ''}${file || 'Dockerfile'}`;
  } else if (/^([a-z+]+:\/\/|git@|-$)/.test(context) || file === '-') {
    return undefined;
  } else {
    path = file || `${context.replace(/\/+$/, '')}/Dockerfile`;
  }
  const workspace = (env.GITHUB_WORKSPACE || '').replace(/\/+$/, '');
  if (workspace && path.startsWith(workspace + '/')) path = path.slice(workspace.length + 1);
  while (path.startsWith('./')) path = path.slice(2);
  return path.startsWith('/') || path.startsWith('../') ? undefined : path;
}
