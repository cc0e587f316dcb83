// Answers each line of JSON, [package, function, ...arguments], by one: {"value": …} or {"error": …}.
// The packages are those of @cloud-copilot in the folder that is its argument.
import { createRequire } from 'node:module'
import { createInterface } from 'node:readline'

const require = createRequire(`${process.argv[2]}/`)

for await (const line of createInterface({ input: process.stdin })) {
  const [name, call, ...given] = JSON.parse(line)
  let answer
  try {
    answer = { value: await require(`@cloud-copilot/${name}`)[call](...given) }
  } catch (error) {
    answer = { error: String(error) }
  }
  process.stdout.write(`${JSON.stringify(answer)}\n`)
}
