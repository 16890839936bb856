// Times the start in browsers: init() after the script has loaded, and the first result since navigation, each in new
// tabs.
//   node __test__/consumers/timing.mjs [TABS]

import { join } from 'node:path'
import { build } from 'esbuild'
import { NotHere } from './browsers.mjs'
import { installPackage } from './package.mjs'
import { htmlFor } from './pages.mjs'
import { Browsers, Project } from './project.mjs'
import { installTools } from '../../tools/consumers.mjs'

const tabs = Number(process.argv[2] ?? 9)

/** @param {number[]} numbers */
const median = (numbers) => numbers.toSorted((a, b) => a - b)[Math.floor(numbers.length / 2)]

const browsers = new Browsers()
const packed = await installPackage()
await installTools('esbuild')
const project = new Project('esbuild', packed.wasm, browsers, packed)
project.take(['timing.js'])
await build({
  entryPoints: [join(project.folder, 'timing.js')],
  outdir: join(project.folder, 'dist'),
  bundle: true,
  minify: true,
  format: 'esm'
})
project.write({ 'dist/index.html': htmlFor('timing.js') })

console.log(`median of ${tabs} new tabs (the least), in ms\n`)
console.log('| browser | `init()` | first call | first result since the navigation |')
console.log('| ------- | -------- | ---------- | --------------------------------- |')
try {
  for (const browser of /** @type {const} */ (['chromium', 'firefox', 'webkit'])) {
    try {
      const { version } = await browsers.get(browser)
      /** @type {any[]} */
      const samples = []
      for (let tab = 0; tab < tabs; tab++) samples.push(await project.open('dist', { browser }))
      const cells = ['init', 'firstCall', 'sinceNavigation'].map((name) => {
        const times = samples.map((sample) => sample[name])
        return `${median(times).toFixed(1)} (${Math.min(...times).toFixed(1)})`
      })
      console.log(`| ${[version, ...cells].join(' | ')} |`)
    } catch (error) {
      if (!(error instanceof NotHere)) throw error
      console.log(`| ${browser}: ${error.message} | | | |`)
    }
  }
} finally {
  await browsers.close()
}
