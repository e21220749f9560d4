// What the action does: inputs to `varve build`, its results to outputs. No dependencies; the runner
// brings node. Tested by tests/e2e/action_*.test as a runner runs it.
import { spawn, spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { accessSync, appendFileSync, constants, copyFileSync, existsSync, mkdirSync, mkdtempSync, readFileSync,
  rmSync, writeFileSync } from 'node:fs';
import { tmpdir, userInfo } from 'node:os';
import { delimiter, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { annotation, bool, buildArguments, cacheScopes, command, dockerfileInRepository, goFalse, verifyArguments,
  warningsOfCheck } from './inputs.mjs';

const env = process.env;
const get = (name) => (env[`INPUT_${name.replaceAll(' ', '_').toUpperCase()}`] || '').trim();
const say = (line) => process.stdout.write(line + '\n');
const warn = (text) => say(command('warning', {}, text));

async function group(title, work) {
  say(command('group', {}, title));
  try {
    return await work();
  } finally {
    say('::endgroup::');
  }
}

function setOutput(name, value) {
  const end = `end_${randomBytes(16).toString('hex')}`;
  if (env.GITHUB_OUTPUT) appendFileSync(env.GITHUB_OUTPUT, `${name}<<${end}\n${value}\n${end}\n`);
}

// For the post step, which runs when this one was killed, too.
function saveState(name, value) {
  if (env.GITHUB_STATE) appendFileSync(env.GITHUB_STATE, `${name}=${value}\n`);
}

function readEvent() {
  try {
    return JSON.parse(readFileSync(env.GITHUB_EVENT_PATH, 'utf8'));
  } catch {
    return {};
  }
}

// Which branches' entries of GitHub's cache this job may read and write: most surprises with type=gha are answered by it.
async function showCacheScopes() {
  const token = env.ACTIONS_RUNTIME_TOKEN;
  if (!token || !/type=gha/.test(get('cache-from') + get('cache-to'))) return;
  await group('GitHub Actions runtime token ACs', () => {
    try {
      for (const { scope, access } of cacheScopes(token)) say(`${scope}: ${access}`);
    } catch (error) {
      warn(`the token of GitHub's cache cannot be read: ${error.message}`);
    }
  });
}

function mask(value) {
  // A mask is for one line of the log.
  for (const line of value.split(/\r?\n/)) {
    if (line.trim() !== '') say(command('add-mask', {}, line));
  }
}

// What a step of the build prints is not for the runner: no line of it is a workflow command.
function run(program, args) {
  const token = `varve-${randomBytes(16).toString('hex')}`;
  say(`::stop-commands::${token}`);
  return new Promise((resolve, reject) => {
    // Errors to our output too: the runner reads two pipes in no order, and the token has to come after.
    const child = spawn(program, args, { stdio: ['inherit', 'inherit', 1] });
    // A cancelled job: the build ends itself, and this when it has.
    const pass = (signal) => child.kill(signal);
    process.on('SIGINT', pass);
    process.on('SIGTERM', pass);
    child.on('error', reject);
    child.on('close', (code, signal) => {
      process.off('SIGINT', pass);
      process.off('SIGTERM', pass);
      say(`::${token}::`);
      resolve(code ?? (signal === 'SIGINT' ? 130 : 1));
    });
  });
}

function inPath(name) {
  for (const folder of (env.PATH || '').split(delimiter)) {
    const path = join(folder, name);
    try {
      accessSync(path, constants.X_OK);
      return path;
    } catch { /* not there */ }
  }
  return undefined;
}

// From the source that the runner fetched with this action; kept for later jobs of the same machine.
async function buildVarve() {
  const source = dirname(dirname(fileURLToPath(import.meta.url)));
  const version = (env.GITHUB_ACTION_REF || 'local').replaceAll(/[^A-Za-z0-9._-]/g, '-');
  const kept = join(env.RUNNER_TOOL_CACHE || tmpdir(), 'varve', version, 'varve');
  if (existsSync(kept)) return kept;
  await group('Building varve, which is not in PATH', async () => {
    const build = join(env.RUNNER_TEMP || tmpdir(), 'varve-build');
    for (const [program, ...args] of [
      [join(source, 'tools/install-deps'), 'build', 'run'],
      ['cmake', '-S', source, '--preset', 'release', '-B', build],
      ['cmake', '--build', build, '--target', 'varve', '--parallel'],
    ]) {
      const code = await run(program, args);
      if (code !== 0) throw new Error(`varve cannot be built: ${program} ${args.join(' ')} ended with ${code}`);
    }
    mkdirSync(dirname(kept), { recursive: true });
    copyFileSync(join(build, 'varve'), kept);
  });
  return kept;
}

// As root where that is to be had and user namespaces are not, as on GitHub's Ubuntu 24.04.
function asWhom(varve) {
  const works = (program, ...args) => spawnSync(program, args, { stdio: 'ignore' }).status === 0;
  if (userInfo().uid === 0 || works('unshare', '--user', 'true') || !works('sudo', '-n', 'true')) return [varve];
  const docker = env.DOCKER_CONFIG || join(env.HOME || '/', '.docker');
  return ['sudo', '-n', '--preserve-env', 'env', `PATH=${env.PATH}`, `DOCKER_CONFIG=${docker}`, varve];
}

function readIf(path) {
  return existsSync(path) ? readFileSync(path, 'utf8') : undefined;
}

function showWarnings(record, dockerfile) {
  if (goFalse(env.DOCKER_BUILD_CHECKS_ANNOTATIONS || '') || !dockerfile) return;
  const warnings = (record.warnings || []).filter((warning) => !warning.hint && warning.line > 0);
  if (warnings.length === 0) return;
  say(command('group', {}, `GitHub annotations (${warnings.length} build check${warnings.length === 1 ? '' : 's'} found)`));
  for (const warning of warnings) say(annotation(warning, dockerfile));
  say('::endgroup::');
}

// The log has what `--call check` found as text; annotations need lines.
function checkAgain(program, args, context) {
  const call = args.indexOf('--call') + 1;
  args[call] = 'check,format=json';
  const done = spawnSync(program, [...args, '--progress', 'quiet', context], { encoding: 'utf8', maxBuffer: 1 << 26 });
  try {
    return warningsOfCheck(JSON.parse(done.stdout));
  } catch {
    return [];
  }
}

function setResults(record) {
  const steps = (record.steps || []).filter((step) => !step.source && !step.internal);
  const cached = steps.filter((step) => step.fate === 'cached');
  const ran = steps.filter((step) => step.fate === 'ran' || step.fate === 'failed').length;
  const all = cached.length + ran;
  setOutput('steps-cached', cached.length);
  setOutput('steps-run', ran);
  setOutput('cache-hit-ratio', all === 0 ? 0 : Number((cached.length / all).toFixed(4)));
  setOutput('saved-seconds', Number((cached.reduce((sum, step) => sum + (step.saved_ns || 0), 0) / 1e9).toFixed(3)));
}

async function main() {
  const folder = mkdtempSync(join(env.RUNNER_TEMP || tmpdir(), 'varve-action-'));
  saveState('folder', folder);
  try {
    const event = readEvent();
    let secrets = 0;
    const files = {
      exists: existsSync,
      write(value) {
        mask(value);
        const path = join(folder, `secret-${++secrets}`);
        writeFileSync(path, value, { mode: 0o600 });
        return path;
      },
    };
    const { args, context } = buildArguments(get, env, files, warn, event);
    const [program, ...before] = asWhom(get('varve') || inPath('varve') || await buildVarve());
    await group('varve version', () => run(program, [...before, 'version']));

    await showCacheScopes();

    const paths = { iid: join(folder, 'iid'), metadata: join(folder, 'metadata.json'), record: join(folder, 'build.json') };
    const results = [];
    const toFiles = args.some((arg, i) => args[i - 1] === '--output' && (!arg.includes('=') || /type=(local|tar)/.test(arg)));
    const isBuild = ['', 'build'].includes(get('call'));
    if (isBuild) results.push('--report', paths.record, '--metadata-file', paths.metadata);
    if (isBuild && !toFiles) results.push('--iidfile', paths.iid);
    if (isBuild && get('report') !== '') results.push('--report', get('report'));
    const code = await group('varve build', () => run(program, [...before, 'build', ...args, ...results, context]));

    const imageid = readIf(paths.iid)?.trim();
    const metadata = readIf(paths.metadata)?.trim();
    const record = JSON.parse(readIf(paths.record) || '{}');
    if (['check', 'lint'].includes(get('call').split(',')[0])) record.warnings = checkAgain(program, [...before, 'build', ...args], context);
    if (imageid) {
      await group('ImageID', () => say(imageid));
      setOutput('imageid', imageid);
    }
    if (metadata) {
      const digest = JSON.parse(metadata)['containerimage.digest'];
      if (digest) {
        await group('Digest', () => say(digest));
        setOutput('digest', digest);
      }
      await group('Metadata', () => say(metadata));
      setOutput('metadata', metadata);
    }
    if (record.steps) setResults(record);
    showWarnings(record, dockerfileInRepository(get, context, env, event));
    if (code !== 0 && !isBuild) throw new Error(`varve build --call ${get('call')} ended with exit code ${code}, see above`);
    if (code !== 0) throw new Error(`varve build failed with: ${record.error || `exit code ${code}`}`);

    if (bool('verify', get('verify')) && isBuild) {
      const differs = await group('varve verify', () => run(program, [...before, 'verify', ...verifyArguments(args), context]));
      if (differs !== 0) throw new Error('varve verify: a build without the cache gives another image, see above');
    }
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

main().catch((error) => {
  say(command('error', {}, error.message));
  process.exitCode = 1;
});
