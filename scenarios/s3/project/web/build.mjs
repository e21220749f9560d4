// Two bundles: the pages as the browser runs them, and the server that renders them, with all that it needs.
import { build } from 'esbuild';

const common = { bundle: true, minify: true, jsx: 'automatic', define: { 'process.env.NODE_ENV': '"production"' } };

await build({ ...common, entryPoints: ['src/client.tsx'], outfile: 'dist/static/client.js', platform: 'browser' });
await build({
  ...common,
  entryPoints: ['src/server.tsx'],
  outfile: 'dist/server.mjs',
  platform: 'node',
  format: 'esm',
  banner: { js: "import { createRequire } from 'node:module'; const require = createRequire(import.meta.url);" },
});
