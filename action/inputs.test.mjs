// node --test action/
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import test from 'node:test';

import { annotation, bool, buildArguments, cacheScopes, command, defaultContext, dockerfileInRepository, list, provenance,
  verifyArguments, warningsOfCheck } from './inputs.mjs';

const env = { GITHUB_SERVER_URL: 'https://github.example', GITHUB_REPOSITORY: 'me/app', GITHUB_SHA: 'abc123',
  GITHUB_WORKSPACE: '/work' };
const written = [];
const files = { exists: (path) => path !== '/missing', write: (value) => { written.push(value); return `/tmp/s${written.length}`; } };

function build(inputs) {
  written.length = 0;
  const warnings = [];
  const result = buildArguments((name) => inputs[name] || '', env, files, (text) => warnings.push(text));
  return { ...result, warnings };
}

test('lists are lines, or lines and commas; a quoted item may have both', () => {
  assert.deepEqual(list('a\n\n b ,c\n'), ['a', 'b ,c']);
  assert.deepEqual(list('a\n\n b ,c\n', { commas: true }), ['a', 'b', 'c']);
  assert.deepEqual(list('"a=1,2"\nb'), ['a=1,2', 'b']);
  assert.deepEqual(list('"key=line 1\nline ""2"""\nb'), ['key=line 1\nline "2"', 'b']);
  assert.deepEqual(list('a=say "hi"'), ['a=say "hi"']);
  assert.deepEqual(list('type=local,"dest=a,b"', { quotes: false }), ['type=local,"dest=a,b"']);
  assert.deepEqual(list(''), []);
});

test('booleans are those of YAML', () => {
  assert.equal(bool('push', 'True'), true);
  assert.equal(bool('push', ''), false);
  assert.throws(() => bool('push', 'yes'), /push/);
});

test('without a context it is this repository at this commit', () => {
  const { args, context } = build({ tags: 'a:1\nb:2,c:3' });
  assert.equal(context, 'https://github.example/me/app.git#abc123');
  assert.deepEqual(args, ['--tag', 'a:1', '--tag', 'b:2', '--tag', 'c:3']);
  assert.equal(build({ context: '{{defaultContext}}:docker' }).context, 'https://github.example/me/app.git#abc123:docker');
});

test('a pull request is built as it will be merged, or as it is', () => {
  const request = { ...env, GITHUB_REF: 'refs/pull/7/merge' }, event = { pull_request: { head: { sha: 'def456' } } };
  assert.match(defaultContext(request, event), /#abc123$/);
  assert.match(defaultContext({ ...request, DOCKER_DEFAULT_GIT_CONTEXT_PR_HEAD_REF: 'true' }, event), /#def456$/);
  assert.match(defaultContext({ ...env, DOCKER_DEFAULT_GIT_CONTEXT_PR_HEAD_REF: 'true' }, event), /#abc123$/);
  assert.match(defaultContext({ GITHUB_REPOSITORY: 'me/app', GITHUB_REF: 'main' }), /me\/app\.git#refs\/heads\/main$/);
});

test('provenance says which run has built the image', () => {
  const run = { ...env, GITHUB_RUN_ID: '12', GITHUB_RUN_ATTEMPT: '3' };
  const id = 'builder-id=https://github.example/me/app/actions/runs/12/attempts/3';
  assert.equal(provenance('true', run), id);
  assert.equal(provenance('mode=max', run), `mode=max,${id}`);
  assert.equal(provenance('mode=max,builder-id=mine', run), 'mode=max,builder-id=mine');
  assert.equal(provenance('type=provenance,disabled=true', run), 'type=provenance,disabled=true');
  assert.equal(provenance('False', run), 'false');
  assert.equal(provenance('true', env), 'true');
  assert.deepEqual(build({ context: '.', attests: 'type=provenance,mode=max\ntype=sbom', sbom: 'true' }).args,
    ['--attest', 'type=provenance,mode=max', '--sbom=true']);
  assert.deepEqual(build({ context: '.', attests: 'type=provenance,mode=max', provenance: 'min' }).args, ['--provenance=min']);
});

test('what the job may do with the cache is read from its token', () => {
  const ac = JSON.stringify([{ Scope: 'refs/heads/topic', Permission: 3 }, { Scope: 'refs/heads/main', Permission: 1 }]);
  const token = `e30.${Buffer.from(JSON.stringify({ ac })).toString('base64url')}.sig`;
  assert.deepEqual(cacheScopes(token), [{ scope: 'refs/heads/topic', access: 'read/write' }, { scope: 'refs/heads/main', access: 'read' }]);
  assert.throws(() => cacheScopes('nonsense'));
});

test('what a check finds has its line', () => {
  const document = { warnings: [{ ruleName: 'FromAsCasing', detail: 'do not match', url: 'https://x',
    location: { ranges: [{ start: { line: 4 }, end: { line: 4 } }] } }] };
  assert.deepEqual(warningsOfCheck(document), [{ text: 'FromAsCasing: do not match', url: 'https://x', line: 4 }]);
  assert.deepEqual(warningsOfCheck({}), []);
});

test('the token is a secret for fetching this repository, and for nothing else', () => {
  const { args } = build({ 'github-token': 'T' });
  assert.deepEqual(args, ['--secret', 'id=GIT_AUTH_TOKEN.github.example,src=/tmp/s1']);
  assert.deepEqual(written, ['T']);
  assert.deepEqual(build({ 'github-token': 'T', context: '.' }).args, []);
  assert.ok(!build({ 'github-token': 'T', secrets: 'GIT_AUTH_TOKEN=mine' }).args.join().includes('github.example'));
});

test('secrets are files, and what is none is a warning that does not tell its value', () => {
  const { args, warnings } = build({ context: '.', secrets: 'npm=a=b\n"key=l1\nl2"\nempty=', 'secret-envs': 'x=HOME',
    'secret-files': 'f=/etc/hosts\ng=/missing' });
  assert.deepEqual(args, ['--secret', 'id=npm,src=/tmp/s1', '--secret', 'id=key,src=/tmp/s2', '--secret', 'id=x,env=HOME',
    '--secret', 'id=f,src=/etc/hosts']);
  assert.deepEqual(written, ['a=b', 'l1\nl2']);
  assert.equal(warnings.length, 2);
});

test('rebuild-cache reads no cache, runs everything and writes the caches', () => {
  const { args } = build({ context: '.', 'cache-from': 'type=gha', 'cache-to': 'type=gha,mode=max', 'rebuild-cache': 'true' });
  assert.deepEqual(args, ['--cache-from', 'type=gha', '--cache-to', 'type=gha,mode=max', '--pull', '--rebuild-cache']);
});

test('fail-on-cache-miss is a switch, or names', () => {
  assert.deepEqual(build({ context: '.', 'fail-on-cache-miss': 'true' }).args, ['--fail-on-cache-miss']);
  assert.deepEqual(build({ context: '.', 'fail-on-cache-miss': 'deps\nRUN npm ci' }).args,
    ['--fail-on-cache-miss=deps', '--fail-on-cache-miss=RUN npm ci']);
  assert.deepEqual(build({ context: '.', 'fail-on-cache-miss': 'false' }).args, []);
});

test('verify takes what decides the image, and no cache or output', () => {
  const { args } = build({ context: '.', 'cache-from': 'type=gha', 'cache-to': 'type=gha', push: 'true', outputs: 'type=oci,dest=x',
    'build-args': 'A=1', target: 'app', 'fail-on-cache-miss': 'deps', tags: 'a' });
  assert.deepEqual(verifyArguments(args), ['--build-arg', 'A=1', '--tag', 'a', '--target', 'app']);
});

test('workflow commands hold any text', () => {
  assert.equal(command('warning', { file: 'a,b:c', line: 3, title: '' }, '50%\nmore'),
    '::warning file=a%2Cb%3Ac,line=3::50%25%0Amore');
  assert.equal(annotation({ text: 'FromAsCasing: do not match (line 1)', remedy: 'write AS', url: 'https://x', line: 1 }, 'Dockerfile'),
    '::warning file=Dockerfile,line=1,title=FromAsCasing::FromAsCasing: do not match%0Awrite AS%0AMore info: https://x');
});

test('warnings are shown at Dockerfiles of the repository only', () => {
  const at = (inputs, context) => dockerfileInRepository((name) => inputs[name] || '', context, env);
  assert.equal(at({}, '.'), 'Dockerfile');
  assert.equal(at({ file: './docker/app.Dockerfile' }, '.'), 'docker/app.Dockerfile');
  assert.equal(at({}, '/work/web/'), 'web/Dockerfile');
  assert.equal(at({}, '/elsewhere'), undefined);
  assert.equal(at({}, 'https://github.com/other/repo.git'), undefined);
  assert.equal(at({ file: '-' }, '.'), undefined);
  assert.equal(at({}, defaultContext(env)), 'Dockerfile');
  assert.equal(at({ file: 'x/Dockerfile' }, defaultContext(env) + ':sub'), 'sub/x/Dockerfile');
});

test('the workflows in examples/ci use inputs that there are', () => {
  const yml = readFileSync(new URL('../action.yml', import.meta.url), 'utf8');
  const inputs = new Set([...yml.split('\noutputs:')[0].matchAll(/^ {2}([a-z-]+):/gm)].map((m) => m[1]));
  const folder = new URL('../examples/ci/', import.meta.url);
  let uses = 0;
  for (const file of readdirSync(folder).filter((name) => name.startsWith('github-'))) {
    const [, ...steps] = readFileSync(new URL(file, folder), 'utf8').split(/uses: OWNER\/varve@\S+\n\s+with:\n/);
    for (const step of steps) {
      for (const [, name] of step.split(/\n {6}- /)[0].matchAll(/^ {10}([a-z-]+):/gm)) {
        assert.ok(inputs.has(name), `${file}: ${name}`);
        ++uses;
      }
    }
  }
  assert.ok(uses > 15);
});

// Every input of action.yml is read, and none that it does not have.
test('action.yml and the code name the same inputs and outputs', () => {
  const here = (path) => readFileSync(new URL(path, import.meta.url), 'utf8');
  const yml = here('../action.yml'), code = here('inputs.mjs') + here('main.mjs');
  const names = (section) => [...yml.slice(yml.indexOf(`\n${section}:`)).split(/\n(?=\w)/)[1].matchAll(/^ {2}([a-z-]+):/gm)].map((m) => m[1]);
  const used = new Set();
  for (const [, name] of code.matchAll(/(?:get|one)\((?:'--[a-z-]+', )?'([a-z-]+)'\)/g)) used.add(name);
  for (const [, name] of code.matchAll(/each\('--[a-z-]+', '([a-z-]+)'/g)) used.add(name);
  assert.deepEqual([...used].sort(), names('inputs').sort());
  const outputs = new Set([...code.matchAll(/setOutput\('([a-z-]+)'/g)].map((m) => m[1]));
  assert.deepEqual([...outputs].sort(), names('outputs').sort());
});
