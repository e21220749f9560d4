// Carries varve's entries from one service to another with GitHub's own client:
// `node gha_carry.mjs SCOPE REF FROM_URL FROM_TOKEN TO_URL TO_TOKEN`, version 2 of the protocol.
import crypto from 'node:crypto'
import fs from 'node:fs'
import path from 'node:path'

// Below the functions for whole folders, which choose an entry's version and pack it with tar.
const internal = name => import(path.resolve(import.meta.dirname, 'node_modules/@actions/cache/lib/internal', name))
const {downloadCache, saveCache} = await internal('cacheHttpClient.js')
const {internalCacheTwirpClient} = await internal('shared/cacheTwirpClient.js')

const [scope, ref, fromUrl, fromToken, toUrl, toToken] = process.argv.slice(2)
const sha256 = bytes => crypto.createHash('sha256').update(bytes).digest('hex')
const version = sha256('varve packs 1')
const use = (url, token) => {
  Object.assign(process.env, {ACTIONS_CACHE_SERVICE_V2: '1', ACTIONS_RESULTS_URL: url, ACTIONS_RUNTIME_TOKEN: token})
  return internalCacheTwirpClient()
}
const fileOf = key => 'entry-' + sha256(key)
const carried = []
const fetchEntry = async (client, key) => {
  const found = await client.GetCacheEntryDownloadURL({key, restoreKeys: [key], version})
  if (!found.ok) throw new Error('nothing begins with ' + key)
  await downloadCache(found.signedDownloadUrl, fileOf(found.matchedKey))
  carried.push(found.matchedKey)
  return fs.readFileSync(fileOf(found.matchedKey))
}

const from = use(fromUrl, fromToken)
const index = JSON.parse(await fetchEntry(from, `varve-${scope}#index-${sha256(ref).slice(0, 8)}-`))
const packs = []
for (const key of index.packs) packs.push(await fetchEntry(from, key))
const right = index.values.filter(([, pack, offset, size, digest]) =>
  'sha256:' + sha256(packs[pack].subarray(offset, offset + size)) === digest)
console.log('> values', index.values.length > 0, right.length === index.values.length)

const to = use(toUrl, toToken)
for (const key of carried) {
  const created = await to.CreateCacheEntry({key, version})
  const size = fs.statSync(fileOf(key)).size
  await saveCache(-1, fileOf(key), created.signedUploadUrl, {useAzureSdk: true, archiveSizeBytes: size})
  const done = await to.FinalizeCacheEntryUpload({key, version, sizeBytes: `${size}`})
  console.log('> carried', key, done.ok)
}
