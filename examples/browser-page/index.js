// Serves the page.
//   npm run example -- browser-page [PORT]
import { serveExample } from '../serve.js'

const { address } = await serveExample('browser-page', Number(process.argv[2] ?? 8080))
console.log(`${address} until Ctrl+C`)
