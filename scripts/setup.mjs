// Installs what the builds need and the machine lacks: the WebAssembly target of Rust, the npm packages and, for the
// tests, a browser and an emulator of AArch64. Quick and silent if nothing is missing. Uses only Node's own modules,
// since it runs before anything is installed.

import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  readlinkSync,
  rmSync,
  writeFileSync
} from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, delimiter, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { installTools, tools } from '../tools/consumers.mjs'
import { fetchGenerator, fetchModel } from '../tools/model.mjs'
import { findBrowser } from '../tools/programs.mjs'
import { Failure, query, root, run } from '../tools/shell.mjs'

/** A target of Rust, and the crates of its standard library. @typedef {{ triple: string, crates: string }} Target */

/** @type {Target} */
const WASM = { triple: 'wasm32-unknown-unknown', crates: 'std,panic_abort' }
/** With what tests need. @type {Target} */
const AARCH64 = { triple: 'aarch64-unknown-linux-gnu', crates: 'std,panic_unwind,test' }
const OLDEST_RUST = [1, 95]

/**
 * Debian's Rust, used if rustup cannot fetch a target. `crates/xtask` expects it in the same place.
 */
const debianRustc = '/usr/bin/rustc'
const debianCargo = '/usr/bin/cargo'
const debianRustPackages = ['rustc-web', 'cargo-web', 'rust-web-src', 'rust-web-llvm', 'rust-web-clippy']

/** @param {string} text */
const say = (text) => console.log(`setup: ${text}`)

/**
 * Installs what `npm run build` needs; with `tests`, also Rust's components that check code.
 *
 * @param {{ tests?: boolean }} [options]
 */
export async function setup({ tests = false } = {}) {
  await checkRust(tests)
  await installTarget(WASM)
  await installPackages()
}

/**
 * Installs what `npm test` needs in addition, and with `consumers` what `npm run test:all` needs. Call it after
 * `setup`; it may run during a build, since it mostly waits for downloads.
 *
 * @param {{ consumers?: boolean }} [options]
 */
export async function setupTests({ consumers = false } = {}) {
  await Promise.all([
    installBrowser().then(installOtherBrowsers).then(installRedis),
    installExplorer().then(() => installConsumers(consumers)),
    installModels(consumers)
  ])
}

/** @param {boolean} tests */
async function checkRust(tests) {
  const version = query('rustc', ['--version'])?.match(/^rustc (\d+)\.(\d+)/)
  const oldest = OLDEST_RUST.join('.')
  if (!version) throw new Failure(`Rust ${oldest} or later is needed; get it with rustup (https://rustup.rs)`)
  const [major, minor] = [Number(version[1]), Number(version[2])]
  if (major < OLDEST_RUST[0] || (major === OLDEST_RUST[0] && minor < OLDEST_RUST[1])) {
    throw new Failure(`Rust ${oldest} or later is needed, this is ${version[0]}: run \`rustup update stable\``)
  }
  if (!tests) return
  for (const [component, probe] of [
    ['rustfmt', 'cargo-fmt'],
    ['clippy', 'cargo-clippy']
  ]) {
    if (query(probe, ['--version']) === undefined) await run('rustup', ['component', 'add', component])
  }
}

// ── Targets ──────────────────────────────────────────────────────────────────────────────────────────────────────────

/** The environment variables with which cargo builds for WebAssembly; undefined if no compiler has the target. */
export const wasmEnvironment = () => targetEnvironment(WASM)

/**
 * Installs what the tests of the kernels for AArch64 need on another machine: a compiler, a linker and an emulator.
 * Returns the target and the environment variables with which cargo tests for it on an emulated processor; undefined if
 * this system has no such packages.
 */
export async function setupAarch64() {
  if (!(await aptInstall(['qemu-user', 'gcc-aarch64-linux-gnu', 'libc6-dev-arm64-cross']))) return undefined
  await installTarget(AARCH64)
  const prefix = 'CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU'
  return {
    target: AARCH64.triple,
    environmentOf: (/** @type {string} */ processor) => ({
      ...targetEnvironment(AARCH64),
      [`${prefix}_LINKER`]: 'aarch64-linux-gnu-gcc',
      [`${prefix}_RUNNER`]: `qemu-aarch64 -L /usr/aarch64-linux-gnu -cpu ${processor}`
    })
  }
}

/**
 * The environment variables with which cargo builds for a target; none if the default compiler has it.
 *
 * @param {Target} target
 * @returns {Record<string, string> | undefined} undefined if no compiler has it
 */
function targetEnvironment(target) {
  if (existsSync(targetLibraries('rustc', target))) return {}
  if (debianTargetIsReady(target)) {
    // Cargo finds clippy's driver through PATH, and the driver must belong to the compiler.
    return { RUSTC: debianRustc, PATH: `/usr/bin${delimiter}${process.env.PATH}` }
  }
  return undefined
}

/**
 * The folder in which a compiler expects the target's standard library; empty if the compiler is missing.
 *
 * @param {string} rustc
 * @param {Target} target
 */
function targetLibraries(rustc, { triple }) {
  return query(rustc, ['--print', 'target-libdir', '--target', triple]) ?? ''
}

/** The file that names the compiler that built the standard library next to it. @param {Target} target */
const stampPath = (target) => join(targetLibraries(debianRustc, target), '..', 'built-by')

/** @param {Target} target */
function debianTargetIsReady(target) {
  if (!existsSync(debianRustc)) return false
  const stamp = stampPath(target)
  return existsSync(stamp) && readFileSync(stamp, 'utf8') === query(debianRustc, ['--version'])
}

/** @param {Target} target */
async function installTarget(target) {
  if (targetEnvironment(target)) return
  const { triple } = target
  say(`adding the Rust target ${triple}`)
  if (query('rustup', ['target', 'add', triple]) !== undefined && existsSync(targetLibraries('rustc', target))) return
  say("rustup could not fetch it; using Debian's compiler, and building its standard library from source")
  if (!(await aptInstall(debianRustPackages))) {
    throw new Failure(`the target ${triple} is missing: run \`rustup target add ${triple}\``)
  }
  // The compiler calls its linker `rust-lld`, a link to a linker from another package, such as lld-22.
  await aptInstall([basename(readlinkSync('/usr/bin/rust-lld'))])
  if (!debianTargetIsReady(target)) await buildStandardLibrary(target)
}

/**
 * Builds the standard library from Debian's source once, and installs it for Debian's compiler.
 *
 * @param {Target} target
 */
async function buildStandardLibrary(target) {
  const { triple, crates } = target
  const scratch = mkdtempSync(join(tmpdir(), 'rust-std-'))
  try {
    // The crate is empty; only the libraries that `-Zbuild-std` builds for it are used.
    writeFileSync(
      join(scratch, 'Cargo.toml'),
      '[package]\nname = "empty"\nversion = "0.0.0"\nedition = "2024"\n[workspace]\n'
    )
    mkdirSync(join(scratch, 'src'))
    writeFileSync(join(scratch, 'src', 'lib.rs'), '#![no_std]\n')
    await run(debianCargo, ['build', '--quiet', '--release', '--target', triple, `-Zbuild-std=${crates}`], {
      cwd: scratch,
      env: {
        RUSTC: debianRustc,
        RUSTC_BOOTSTRAP: '1',
        RUSTFLAGS: '-Cembed-bitcode=yes',
        CARGO_TARGET_DIR: join(scratch, 'target'),
        RUSTC_WRAPPER: '',
        RUSTC_WORKSPACE_WRAPPER: ''
      }
    })
    const built = join(scratch, 'target', triple, 'release', 'deps')
    const staged = join(scratch, 'lib')
    mkdirSync(staged)
    for (const name of readdirSync(built)) {
      if (/^lib.*\.rlib$/.test(name) && !name.startsWith('libempty-')) cpSync(join(built, name), join(staged, name))
    }
    const stamp = join(scratch, 'built-by')
    writeFileSync(stamp, query(debianRustc, ['--version']) ?? '')
    const destination = targetLibraries(debianRustc, target)
    await asRoot('rm', ['-rf', destination])
    await asRoot('mkdir', ['-p', destination])
    await asRoot('cp', ['-r', `${staged}/.`, destination])
    await asRoot('cp', [stamp, stampPath(target)])
  } finally {
    rmSync(scratch, { recursive: true, force: true })
  }
}

// ── npm packages ─────────────────────────────────────────────────────────────────────────────────────────────────────

const installPackages = () => installLocked(root, 'the npm packages')

/** Installs the packages that build and test examples/explorer. */
export const installExplorer = () => installLocked(join(root, 'examples', 'explorer'), "the explorer's npm packages")

/**
 * Installs a folder's packages, unless they already match its lock file.
 *
 * @param {string} folder
 * @param {string} what
 */
export async function installLocked(folder, what) {
  const lock = readFileSync(join(folder, 'package-lock.json'))
  // A copy of the lock file that was last installed.
  const satisfied = join(folder, 'node_modules', '.satisfied-lock.json')
  if (existsSync(satisfied) && readFileSync(satisfied).equals(lock)) return
  say(`installing ${what}`)
  await run('npm', ['ci', '--include=dev', '--no-audit', '--no-fund', '--loglevel=error'], { cwd: folder })
  writeFileSync(satisfied, lock)
}

// ── The browser ──────────────────────────────────────────────────────────────────────────────────────────────────────

async function installBrowser() {
  if (findBrowser()) return
  say('installing Chromium for the browser test')
  if (!(await aptInstall(['chromium']))) {
    throw new Failure('the browser test needs Chromium or Chrome: install one, or name it in CHROME_PATH')
  }
}

/**
 * Installs Firefox and WebKit for the explorer and the consumers; tests without their browser are skipped with a note.
 */
async function installOtherBrowsers() {
  try {
    await aptInstall(['firefox-esr', 'webkit2gtk-driver', 'xvfb'])
  } catch (error) {
    if (!(error instanceof Failure)) throw error
    say(`no Firefox and WebKit for the tests: ${error.message}`)
  }
}

/** Installs Redis for the kill test of examples/corpus, which is skipped with a note if there is none. */
async function installRedis() {
  if (query('redis-server', ['--version']) !== undefined) return
  try {
    await aptInstall(['redis-server'])
  } catch (error) {
    if (!(error instanceof Failure)) throw error
    say(`no Redis for the test of examples/corpus: ${error.message}`)
  }
}

// ── Consumers of the package ─────────────────────────────────────────────────────────────────────────────────────────

/** The sets of tools that `npm test` uses. */
const coreTools = /** @type {const} */ ([
  'bun',
  'deno',
  'workerd',
  'esbuild',
  'vite',
  'typescript',
  'firefox',
  'corpus',
  'fastify'
])

/**
 * Installs the tools of consumers. A consumer reports tools that are not available on this machine.
 *
 * @param {boolean} all  true for all tools, false for those of `npm test`
 */
async function installConsumers(all) {
  const sets = all ? /** @type {import('../tools/consumers.mjs').ToolSet[]} */ (Object.keys(tools)) : coreTools
  for (const set of sets) {
    try {
      await installTools(set)
    } catch (error) {
      if (!(error instanceof Failure)) throw error
      say(error.message)
    }
  }
}

// ── The models ───────────────────────────────────────────────────────────────────────────────────────────────────────

/**
 * Fetches the models. If all-MiniLM-L6-v2 is not available, its test fails on CI and is skipped elsewhere.
 *
 * @param {boolean} all  true for the model that generates text, which `npm run test:all` uses
 */
async function installModels(all) {
  try {
    await fetchModel()
    if (all) await fetchGenerator()
  } catch (error) {
    if (!(error instanceof Failure)) throw error
    say(error.message)
  }
}

// ── Debian packages ──────────────────────────────────────────────────────────────────────────────────────────────────

let aptIsUpdated = false

/**
 * Installs the missing ones among these Debian packages.
 *
 * @param {readonly string[]} packages
 * @returns {Promise<boolean>} false if the machine has no apt, or the user may not run it
 */
async function aptInstall(packages) {
  if (!query('apt-get', ['--version']) || !rootPrefix()) return false
  const missing = packages.filter((name) => query('dpkg-query', ['-W', '-f=${db:Status-Status}', name]) !== 'installed')
  if (missing.length === 0) return true
  say(`installing Debian's ${missing.join(', ')}`)
  if (!aptIsUpdated) await asRoot('apt-get', ['update', '-qq'])
  aptIsUpdated = true
  await asRoot('apt-get', ['install', '-y', '-qq', '--no-install-recommends', '-o=Dpkg::Use-Pty=0', ...missing])
  return true
}

/** @returns {string[] | undefined} the prefix of a command that needs root */
function rootPrefix() {
  if (process.getuid?.() === 0) return []
  return query('sudo', ['-n', 'true']) === undefined ? undefined : ['sudo', '-n']
}

/**
 * @param {string} command
 * @param {readonly string[]} args
 */
async function asRoot(command, args) {
  const [program, ...rest] = [...(rootPrefix() ?? []), command, ...args]
  await run(program, rest, { env: { DEBIAN_FRONTEND: 'noninteractive' } })
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  try {
    const tests = process.argv.includes('--tests')
    await setup({ tests })
    if (tests) await setupTests()
  } catch (error) {
    if (!(error instanceof Failure)) throw error
    console.error(`setup: ${error.message}`)
    process.exitCode = 1
  }
}
