// Sends calls with @rudderstack/rudder-sdk-node: node rudder_node.mjs <url> <key>; the calls as JSON on standard input.
import { readFileSync } from 'node:fs'
import Analytics from '@rudderstack/rudder-sdk-node'

const [host, writeKey] = process.argv.slice(2)
const analytics = new Analytics(writeKey, { dataPlaneUrl: `${host}/segment`, flushAt: 10, flushInterval: 200 })
const asDate = (name, value) => (name === 'timestamp' ? new Date(value) : value)
const taken = JSON.parse(readFileSync(0, 'utf8'), asDate).map(
  ({ type, ...call }) =>
    new Promise((resolve, reject) => analytics[type](call, (error) => (error ? reject(error) : resolve()))),
)
await Promise.all(taken)
