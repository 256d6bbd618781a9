// Evaluates the simulations that come in as JSON, and prints the outcome of each.
import { text } from 'node:stream/consumers'
import { runSimulation } from '@cloud-copilot/iam-simulate'

const outcomes = []
for (const simulation of JSON.parse(await text(process.stdin))) {
  const response = await runSimulation(simulation, {})
  outcomes.push(response.overallResult ?? JSON.stringify(response.errors))
}
console.log(JSON.stringify(outcomes))
