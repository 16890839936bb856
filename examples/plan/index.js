// Programs in the style of the project's original plan, on `@ruvector/attention/compat`.
//   npm run example -- plan [basic | performance | page [PORT]]
import { serveExample } from '../serve.js'

const [program = 'basic', port = '8080'] = process.argv.slice(2)
if (program === 'page') {
  const { address } = await serveExample('plan', Number(port))
  console.log(`${address} until Ctrl+C`)
} else if (program === 'basic' || program === 'performance') {
  await import(`./${program}.js`)
} else {
  console.error('usage: npm run example -- plan [basic | performance | page [PORT]]')
  process.exitCode = 1
}
