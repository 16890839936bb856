// Serves the page.
//   npm run example -- train-page [PORT]
import { serveExample } from '../serve.js'

const { address } = await serveExample('train-page', Number(process.argv[2] ?? 8080))
console.log(`${address} until Ctrl+C`)
