// Writes bills of materials in CycloneDX format: one for the npm package, one for the crates of both backends.

import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { Failure, query, run } from '../../tools/shell.mjs'
import { toolModule, toolProgram } from './tools.mjs'

const SPECIFICATION = '1.6'

/**
 * @param {string} tree  the repository, or a copy of it
 * @param {string} output  a folder
 */
export async function writeBills(tree, output) {
  const [npm, cargo] = [join(output, 'sbom-npm.cdx.json'), join(output, 'sbom-cargo.cdx.json')]
  const program = toolProgram('@cyclonedx/cyclonedx-npm', 'cyclonedx-npm')
  const form = [
    '--spec-version',
    SPECIFICATION,
    '--output-format',
    'JSON',
    '--output-reproducible',
    '--output-file',
    npm
  ]
  await run(process.execPath, [program, '--package-lock-only', '--omit', 'dev', ...form], { cwd: tree })
  writeFileSync(cargo, `${JSON.stringify(cargoBill(tree), undefined, 2)}\n`)
  for (const file of [npm, cargo]) await validate(file)
}

/** @param {string} file */
async function validate(file) {
  const { Validation, Spec } = toolModule('@cyclonedx/cyclonedx-library')
  const fault = await new Validation.JsonStrictValidator(Spec.Version.v1dot6).validate(readFileSync(file, 'utf8'))
  if (fault !== null) throw new Failure(`${file} is not valid CycloneDX ${SPECIFICATION}: ${JSON.stringify(fault)}`)
}

/**
 * @typedef {{ id: string, name: string, version: string, license: string | null, description: string | null, source:
 *   string | null }} Crate
 * @typedef {{ id: string, deps: { pkg: string, dep_kinds: { kind: string | null }[] }[] }} Node
 */

/** @param {string} tree */
function cargoBill(tree) {
  const output = query('cargo', ['metadata', '--format-version', '1', '--locked'], { cwd: tree })
  if (!output) throw new Failure('`cargo metadata` failed')
  /** @type {{ packages: Crate[], resolve: { nodes: Node[] } }} */
  const { packages, resolve } = JSON.parse(output)
  const roots = packages.filter(({ name, source }) => source === null && /-(node|wasm)$/.test(name))
  const graph = reached(resolve.nodes, roots)
  const checksums = checksumsOf(readFileSync(join(tree, 'Cargo.lock'), 'utf8'))
  const crates = packages.filter(({ id }) => graph.has(id)).sort((a, b) => referenceOf(a).localeCompare(referenceOf(b)))
  const references = new Map(crates.map((crate) => [crate.id, referenceOf(crate)]))
  return {
    $schema: `http://cyclonedx.org/schema/bom-${SPECIFICATION}.schema.json`,
    bomFormat: 'CycloneDX',
    specVersion: SPECIFICATION,
    version: 1,
    metadata: {
      component: {
        type: 'application',
        'bom-ref': 'backends',
        name: '@ruvector/attention backends',
        version: roots[0].version
      }
    },
    components: crates.map((crate) => componentOf(crate, checksums)),
    dependencies: [
      { ref: 'backends', dependsOn: roots.map(referenceOf) },
      ...crates.map((crate) => ({
        ref: referenceOf(crate),
        dependsOn: (graph.get(crate.id) ?? []).map((id) => /** @type {string} */ (references.get(id))).sort()
      }))
    ]
  }
}

/**
 * Collects the crates linked into the roots, without those that only tests and build scripts use.
 *
 * @param {readonly Node[]} nodes
 * @param {readonly Crate[]} roots
 * @returns {Map<string, string[]>} the dependencies of each
 */
function reached(nodes, roots) {
  const byId = new Map(nodes.map((node) => [node.id, node]))
  const graph = new Map()
  const open = roots.map(({ id }) => id)
  for (let id = open.pop(); id; id = open.pop()) {
    if (graph.has(id)) continue
    const used = byId.get(id)?.deps.filter(({ dep_kinds }) => dep_kinds.some(({ kind }) => kind === null)) ?? []
    const ids = [...new Set(used.map(({ pkg }) => pkg))]
    graph.set(id, ids)
    open.push(...ids)
  }
  return graph
}

/** @param {Pick<Crate, 'name' | 'version'>} crate */
const referenceOf = ({ name, version }) => `pkg:cargo/${name}@${version}`

/** @param {string} lock */
const checksumsOf = (lock) =>
  new Map(
    [...lock.matchAll(/^name = "(.*)"\nversion = "(.*)"\nsource = .*\nchecksum = "(.*)"/gm)].map(
      ([, name, version, checksum]) => [referenceOf({ name, version }), checksum]
    )
  )

/**
 * @param {Crate} crate
 * @param {Map<string, string>} checksums
 */
function componentOf(crate, checksums) {
  const reference = referenceOf(crate)
  const checksum = checksums.get(reference)
  return {
    type: 'library',
    'bom-ref': reference,
    name: crate.name,
    version: crate.version,
    ...(crate.description ? { description: crate.description.trim() } : {}),
    ...(checksum ? { hashes: [{ alg: 'SHA-256', content: checksum }] } : {}),
    // Some crates still use the former notation for `MIT OR Apache-2.0`.
    ...(crate.license ? { licenses: [{ expression: crate.license.replaceAll('/', ' OR ') }] } : {}),
    purl: reference
  }
}
