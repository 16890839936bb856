// Generates the lists of names that entries export from their declarations, and the declarations of `/core`:
// `node scripts/entries.mjs` writes them, `--check` fails if one is out of date. JavaScript has no other way to export
// the members of an object.

import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import ts from 'typescript'
import { root } from '../tools/shell.mjs'

const runtimes = ['browser', 'external', 'workerd']
const main = runtimes.map((name) => `lib/entries/${name}.js`)
const core = runtimes.map((name) => `lib/entries/core-${name}.js`)
const compat = ['', '-browser', '-external', '-workerd'].map((name) => `lib/entries/compat${name}.js`)
const models = ['', '-browser', '-workerd'].map((name) => `lib/entries/models${name}.js`)
const training = ['', ...runtimes.map((name) => `-${name}`)].map((name) => `lib/entries/training${name}.js`)

/** The sections of index.d.ts whose declarations `/core` leaves out. */
const BEYOND_CORE = ['Linear attention', 'Hyperbolic attention', 'Graphs']

/** Each file of declarations with its entries, and the modules that an entry re-exports completely. */
const contracts = [
  { declarations: 'index.d.ts', entries: ['index.js', ...main], passedOn: [] },
  { declarations: 'core.d.ts', entries: core, passedOn: [] },
  { declarations: 'compat.d.ts', entries: compat, passedOn: ['lib/compat/tools.js'] },
  { declarations: 'models.d.ts', entries: models, passedOn: [] },
  { declarations: 'training.d.ts', entries: training, passedOn: [] }
]

/**
 * Names of the values that a file exports, in order.
 *
 * @param {string} file
 */
function exportedValues(file) {
  const options = { allowJs: true, module: ts.ModuleKind.NodeNext, moduleResolution: ts.ModuleResolutionKind.NodeNext }
  const program = ts.createProgram([join(root, file)], { ...options, noEmit: true })
  const checker = program.getTypeChecker()
  const source = /** @type {ts.SourceFile} */ (program.getSourceFile(join(root, file)))
  const module = /** @type {ts.Symbol} */ (checker.getSymbolAtLocation(source))
  return checker
    .getExportsOfModule(module)
    .filter((symbol) => {
      const target = symbol.flags & ts.SymbolFlags.Alias ? checker.getAliasedSymbol(symbol) : symbol
      return target.flags & ts.SymbolFlags.Value && symbol.name !== 'default'
    })
    .map(({ name }) => name)
    .sort()
}

/** Names of the declarations that `/core` takes from index.d.ts, types included. */
function coreNames() {
  const text = readFileSync(join(root, 'index.d.ts'), 'utf8')
  const sections = text.split(/^\/\/ ── (.+?) ─+$/m)
  const kept = sections.filter((_, index) => index % 2 === 0 && !BEYOND_CORE.includes(sections[index - 1]))
  const exported = /^export (?:declare )?(?:abstract )?(?:class|const|function|interface|type) (\w+)/gm
  const names = kept.flatMap((section) => [...section.matchAll(exported)].map(([, name]) => name))
  return [...new Set(names)].filter((name) => !OWN_OF_CORE.includes(name)).sort()
}

/** Declarations of which `/core` has its own form. */
const OWN_OF_CORE = ['Attention', 'loadBackend']

const isCheck = process.argv.includes('--check')

/**
 * Writes a list of names into a file, or checks it.
 *
 * @param {string} file
 * @param {RegExp} place
 * @param {string} list
 * @param {string} declarations
 */
function update(file, place, list, declarations) {
  const path = join(root, file)
  const text = readFileSync(path, 'utf8')
  // Prettier joins the lines of short lists.
  const words = (/** @type {string} */ code) => code.match(/\w+/g)?.join()
  if (words(text.match(place)?.[0] ?? '') === words(list)) return
  if (isCheck) {
    console.error(`${file} does not export what ${declarations} declares: run \`npm run format\``)
    process.exitCode = 1
  } else {
    writeFileSync(path, text.replace(place, list))
  }
}

const passedOnPlace = /^export \{[^}]*\} from /m
/** @param {readonly string[]} names */
const passedOnList = (names) => `export {\n${names.map((name) => `  ${name}`).join(',\n')}\n} from `
update('core.d.ts', passedOnPlace, passedOnList(coreNames()), 'index.d.ts')
const coreValues = exportedValues('core.d.ts').filter((name) => !OWN_OF_CORE.includes(name))
update('lib/entries/core.js', passedOnPlace, passedOnList(coreValues), 'core.d.ts')

for (const { declarations, entries, passedOn } of contracts) {
  const others = new Set(passedOn.flatMap(exportedValues))
  const names = exportedValues(declarations).filter((name) => !others.has(name))
  const list = `export const {\n${names.map((name) => `  ${name}`).join(',\n')}\n} = `
  for (const entry of entries) update(entry, /^export const \{[^}]*\} = /m, list, declarations)
}
