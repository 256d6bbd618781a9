// Evaluates the simulations that come in as JSON, and prints the outcome of each.
import { text } from 'node:stream/consumers'
import { runSimulation } from '@cloud-copilot/iam-simulate'

// The engine drops a context key that it does not find in its data, and finds one with a variable by
// the slash before it. So kms:EncryptionContext:... goes by another name, in requests and policies.
const input = (await text(process.stdin)).replaceAll('kms:EncryptionContext:', 'aws:RequestTag/')

const outcomes = []
for (const simulation of JSON.parse(input)) {
  const response = await runSimulation(simulation, {})
  const ignored = response.result?.ignoredContextKeys ?? []
  outcomes.push(
    ignored.length ? `ignored ${ignored}` : (response.overallResult ?? JSON.stringify(response.errors)),
  )
}
console.log(JSON.stringify(outcomes))
