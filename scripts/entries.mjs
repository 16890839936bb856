// Generates the lists of names that entries export from their declarations: `node scripts/entries.mjs` writes them,
// `--check` fails if one is out of date. JavaScript has no other way to export the members of an object.

import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import ts from 'typescript'
import { root } from '../tools/shell.mjs'

const main = ['browser', 'external', 'workerd'].map((name) => `lib/entries/${name}.js`)
const compat = ['', '-browser', '-external', '-workerd'].map((name) => `lib/entries/compat${name}.js`)
const models = ['', '-browser', '-workerd'].map((name) => `lib/entries/models${name}.js`)

/** Each file of declarations with its entries, and the modules that an entry re-exports completely. */
const contracts = [
  { declarations: 'index.d.ts', entries: ['index.js', ...main], passedOn: [] },
  { declarations: 'compat.d.ts', entries: compat, passedOn: ['lib/compat/tools.js'] },
  { declarations: 'models.d.ts', entries: models, passedOn: [] }
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

const isCheck = process.argv.includes('--check')
for (const { declarations, entries, passedOn } of contracts) {
  const others = new Set(passedOn.flatMap(exportedValues))
  const names = exportedValues(declarations).filter((name) => !others.has(name))
  const list = `export const {\n${names.map((name) => `  ${name}`).join(',\n')}\n} = `
  for (const entry of entries) {
    const file = join(root, entry)
    const text = readFileSync(file, 'utf8')
    const expected = text.replace(/^export const \{[^}]*\} = /m, list)
    if (text === expected) continue
    if (isCheck) {
      console.error(`${entry} does not export what ${declarations} declares: run \`npm run format\``)
      process.exitCode = 1
    } else {
      writeFileSync(file, expected)
    }
  }
}
