// A consumer's project: a folder with its tools and the installed package, its files, and the expectations on its
// reports.

import { mkdirSync, readFileSync, readdirSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { Failure, root } from '../../tools/shell.mjs'
import { NotHere, openChromium, openFirefox, openWebKit } from './browsers.mjs'
import { capture, serveWith } from './processes.mjs'
import { serveFolder } from './serve.mjs'
import { freshProject, toolProgram } from '../../tools/consumers.mjs'

/** @typedef {import('./programs/check.js').Report & { inWorker?: import('./programs/check.js').Report }} Report */
/** @typedef {import('../../tools/consumers.mjs').ToolSet} ToolSet */
/** @typedef {{ report?: Report, note?: string }} Outcome `note` adds to the report. */
/**
 * - `core`: part of `npm test`.
 * - `tools`: the project's dependencies.
 * - `native`: true if the platform's package is installed too.
 *
 * @typedef {{ name: string, core?: boolean, tools: ToolSet, native?: boolean, run: (project: Project) =>
 *   Promise<Outcome> }} Consumer
 */

/** @typedef {{ browser?: 'chromium' | 'firefox' | 'webkit', headers?: Record<string, string> }} Where */

const programs = fileURLToPath(new URL('programs/', import.meta.url))

/** The browsers, each started on first use. */
export class Browsers {
  #openers = { chromium: openChromium, firefox: openFirefox, webkit: openWebKit }
  /** @type {Map<string, Promise<import('./browsers.mjs').Browser>>} */
  #open = new Map()

  /** @param {'chromium' | 'firefox' | 'webkit'} name */
  get(name) {
    const open = this.#open.get(name) ?? this.#openers[name]()
    this.#open.set(name, open)
    return open
  }

  async close() {
    const open = await Promise.allSettled(this.#open.values())
    await Promise.all(open.map((found) => found.status === 'fulfilled' && found.value.close()))
  }
}

export class Project {
  /**
   * @param {ToolSet} tools
   * @param {string} installed
   * @param {Browsers} browsers
   * @param {import('./package.mjs').Installed} packed
   */
  constructor(tools, installed, browsers, packed) {
    this.tools = tools
    this.folder = freshProject(tools, installed)
    this.browsers = browsers
    this.packed = packed
  }

  /** Writes files, given by name. @param {Record<string, string>} files */
  write(files) {
    for (const [name, content] of Object.entries(files)) {
      mkdirSync(dirname(join(this.folder, name)), { recursive: true })
      writeFileSync(join(this.folder, name), content)
    }
  }

  /** Changes a JSON file. @param {string} name @param {(content: any) => unknown} change */
  change(name, change) {
    this.write({ [name]: JSON.stringify(change(JSON.parse(readFileSync(join(this.folder, name), 'utf8')))) })
  }

  /**
   * Copies programs that all consumers share. @param {readonly string[]} names @param {(code: string) => string}
   * [change]
   */
  take(names, change = (code) => code) {
    this.write(Object.fromEntries(names.map((name) => [name, change(readFileSync(join(programs, name), 'utf8'))])))
  }

  /**
   * Copies an example of the repository, with the installed versions of its dependencies.
   *
   * @param {string} name
   * @param {(code: string) => string} [change]
   */
  takeExample(name, change = (code) => code) {
    const from = join(root, 'examples', name)
    for (const file of readdirSync(from)) {
      if (file !== 'package.json') this.write({ [file]: change(readFileSync(join(from, file), 'utf8')) })
    }
  }

  /**
   * Runs a program of the tools with this version of Node.
   *
   * @param {readonly [name: string, program?: string]} program  the package, and the program if its name differs
   * @param {readonly string[]} args
   * @param {Omit<import('./processes.mjs').How, 'cwd'>} [how]
   */
  tool([name, program = name], args, how) {
    return this.run(process.execPath, [toolProgram(this.tools, name, program), ...args], how)
  }

  /**
   * @param {string} command
   * @param {readonly string[]} args
   * @param {Omit<import('./processes.mjs').How, 'cwd'>} [how]
   */
  run(command, args, how) {
    return capture(command, args, { cwd: this.folder, ...how })
  }

  /**
   * @param {string} command
   * @param {readonly string[]} args
   * @param {Omit<Parameters<typeof serveWith>[2], 'cwd'>} how
   */
  serve(command, args, how) {
    return serveWith(command, args, { cwd: this.folder, ...how })
  }

  /**
   * The outcome of a page of this project in a browser.
   *
   * @param {string} [folder]  folder in the project with an index.html
   * @param {Where} [how]
   * @returns {Promise<Report>}
   */
  open(folder = '.', how = {}) {
    return this.#visit(folder, how, (opened, address) => opened.outcome(address))
  }

  /** The outcome of the page at an address, served by another server. @param {string} address */
  async openAt(address) {
    return /** @type {Report} */ (await (await this.browsers.get('chromium')).outcome(address))
  }

  /**
   * The texts that a page of this project writes into elements.
   *
   * @param {string} folder
   * @param {Where & { ids: string[] }} how
   * @returns {Promise<Record<string, string>>}
   */
  read(folder, { ids, ...how }) {
    return this.#visit(folder, how, (opened, address) => opened.texts(address, ids))
  }

  /**
   * @template T
   * @param {string} folder
   * @param {Where} how
   * @param {(opened: import('./browsers.mjs').Browser, address: string) => Promise<T>} visit
   */
  async #visit(folder, { browser = 'chromium', headers }, visit) {
    const opened = await this.browsers.get(browser)
    const server = await serveFolder(join(this.folder, folder), headers)
    try {
      return await visit(opened, server.address)
    } finally {
      server.stop()
    }
  }
}

/** The last line of an output, which is the report. @param {string} output @returns {Report} */
export function reportOf(output) {
  const line = output.trim().split('\n').at(-1) ?? ''
  try {
    return JSON.parse(line)
  } catch {
    throw new Failure(`no report: ${output}`)
  }
}

/**
 * Compares a report with the expectations on this consumer.
 *
 * @param {Report} report
 * @param {{ kind: 'native' | 'wasm', workers: boolean, rejected?: readonly RegExp[], needsInit?: boolean }} expected
 * @returns {Outcome}
 */
export function expectReport(report, { kind, workers, rejected = [], needsInit = false }) {
  const shown = JSON.stringify(report)
  if (report.kind !== kind) throw new Failure(`${kind} was expected: ${shown}`)
  if (report.threads > 1 !== workers)
    throw new Failure(`${workers ? 'workers were' : 'no worker was'} expected: ${shown}`)
  if (report.needsInit !== needsInit) throw new Failure(`init is ${needsInit ? '' : 'not '}to be needed: ${shown}`)
  const fits =
    report.rejected.length === rejected.length && rejected.every((reason, at) => reason.test(report.rejected[at]))
  if (!fits) throw new Failure(`rejected was to fit ${rejected.join(', ') || 'nothing'}: ${shown}`)
  if (report.inWorker) expectReport(report.inWorker, { kind, workers, rejected, needsInit })
  return { report }
}

export { Failure, NotHere }
