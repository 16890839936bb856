// Types of options for TypeScript's exactOptionalPropertyTypes.
import { readFileSync } from 'node:fs'
import test from 'ava'
import ts from 'typescript'

const files = ['index.d.ts', 'plot.d.ts', 'compat.d.ts', 'models.d.ts', 'training.d.ts', 'lib/graphology/index.d.ts']

/**
 * The lines of optional members that may be null, but not undefined.
 *
 * @param {string} file
 */
function wrongMembers(file) {
  const text = readFileSync(new URL(`../../${file}`, import.meta.url), 'utf8')
  const source = ts.createSourceFile(file, text, ts.ScriptTarget.Latest, true)
  /** @type {string[]} */
  const found = []
  /** @param {ts.Node} node */
  function visit(node) {
    if (ts.isPropertySignature(node) && node.questionToken && node.type && ts.isUnionTypeNode(node.type)) {
      const kinds = node.type.types.map((type) => (ts.isLiteralTypeNode(type) ? type.literal.kind : type.kind))
      if (kinds.includes(ts.SyntaxKind.NullKeyword) && !kinds.includes(ts.SyntaxKind.UndefinedKeyword)) {
        const { line } = source.getLineAndCharacterOfPosition(node.getStart())
        found.push(`${file}:${line + 1}: ${node.getText()} | undefined`)
      }
    }
    ts.forEachChild(node, visit)
  }
  visit(source)
  return found
}

for (const file of files) {
  test(`each option in ${file} that may be null may also be undefined`, (t) => t.deepEqual(wrongMembers(file), []))
}
