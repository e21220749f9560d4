// What a job does through GitHub's own client, @actions/cache: `node actions_cache.mjs NAME` in an empty folder.
// NAME begins every key. With BLOB_HOST=1 the addresses at *.blob.core.windows.net, for which the client has
// other code, are at 127.0.0.1.
import * as cache from '@actions/cache'
import crypto from 'node:crypto'
import dns from 'node:dns'
import fs from 'node:fs'

if (process.env.BLOB_HOST) {
  const lookup = dns.lookup
  dns.lookup = (host, options, done) =>
    lookup(host.endsWith('.blob.core.windows.net') ? '127.0.0.1' : host, options, done)
}

const say = (...words) => console.log('>', ...words)
const write = (path, bytes) => { fs.mkdirSync('data', {recursive: true}); fs.writeFileSync('data/' + path, bytes) }
const forget = () => fs.rmSync('data', {recursive: true, force: true})
const sum = path => crypto.createHash('sha256').update(fs.readFileSync('data/' + path)).digest('hex')
const it = process.argv[2]

write('a', 'of ' + it)
say('saved', await cache.saveCache(['data'], it + '-linux-1') > 0)
forget()
say('exact', await cache.restoreCache(['data'], it + '-linux-1'), fs.readFileSync('data/a', 'utf8'))
write('a', 'newer')
say('saved', await cache.saveCache(['data'], it + '-linux-2') > 0)
forget()
say('restore key', await cache.restoreCache(['data'], it + '-linux-9', [it + '-win-', it + '-linux-']), fs.readFileSync('data/a', 'utf8'))
say('miss', await cache.restoreCache(['data'], 'other', ['nothing-']))
say('other paths', await cache.restoreCache(['elsewhere'], it + '-linux-1'))
say('again', await cache.saveCache(['data'], it + '-linux-1'))

// Beyond 128 MiB the client uploads in blocks.
write('large', crypto.randomBytes(133 << 20))
const before = sum('large')
say('large', await cache.saveCache(['data'], it + '-large') > 0)
forget()
say('large', await cache.restoreCache(['data'], it + '-large'), sum('large') === before)

forget()
write('a', 'shared')
const numbers = [...Array(12).keys()]
const saved = await Promise.all(numbers.map(n => cache.saveCache(['data'], it + '-parallel-' + n)))
say('parallel', saved.every(id => id > 0))
// One after the other: all unpack into the same folder, and tar fails where another has just made a file.
const found = []
for (const n of numbers) found.push(await cache.restoreCache(['data'], it + '-parallel-' + n))
say('parallel', found.every((key, n) => key === it + '-parallel-' + n))
