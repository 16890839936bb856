// Checks that the page's data equal the script's output for the real model, bit for bit.

import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { dataFolder, makeData } from '../../../scripts/explorer-data.mjs'
import { hasModel } from '../../../tools/model.mjs'

test('the embeddings and the tokenizer are those of the model', (t) => {
  if (!hasModel()) return t.skip('the model is missing: node tools/model.mjs fetches it')
  for (const [name, bytes] of Object.entries(makeData())) {
    assert.ok(readFileSync(join(dataFolder, name)).equals(bytes), `${name} differs: run node scripts/explorer-data.mjs`)
  }
})
