// Sends calls with @segment/analytics-node: node segment_node.mjs <url> <key>; the calls as JSON on standard input.
import { readFileSync } from 'node:fs'
import { Analytics } from '@segment/analytics-node'

const [host, writeKey] = process.argv.slice(2)
const analytics = new Analytics({ host, path: '/segment/v1/batch', writeKey, flushAt: 10, flushInterval: 200 })
const failed = []
analytics.on('error', (error) => failed.push(String(error.reason ?? error)))
for (const { type, ...call } of JSON.parse(readFileSync(0, 'utf8'))) analytics[type](call)
await analytics.closeAndFlush()
if (failed.length > 0) throw new Error(failed.join('\n'))
