// A consumer's project: a folder with its tools and the installed package, files to write into it, and what its reports have to say.

import { cpSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { Failure, root } from '../../scripts/shell.mjs'
import { NotHere, openChromium, openFirefox, openWebKit } from './browsers.mjs'
import { capture, serveWith } from './processes.mjs'
import { serveFolder } from './serve.mjs'
import { freshProject, toolProgram } from './tools.mjs'

/** @typedef {import('./programs/check.js').Report & { inWorker?: import('./programs/check.js').Report }} Report */
/** @typedef {import('./tools.mjs').ToolSet} ToolSet */
/** @typedef {{ report?: Report, note?: string }} Outcome `note` is for what the report does not say. */
/**
 * - `core`: it is part of `npm test`.
 * - `tools`: what its project depends on.
 * - `native`: whether the platform's package is installed too.
 *
 * @typedef {{ name: string, core?: boolean, tools: ToolSet, native?: boolean, run: (project: Project) => Promise<Outcome> }} Consumer
 */

const programs = fileURLToPath(new URL('programs/', import.meta.url))

/** The browsers, each started when it is first needed. */
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

  /** @param {Record<string, string>} files  by their names */
  write(files) {
    for (const [name, content] of Object.entries(files)) {
      mkdirSync(dirname(join(this.folder, name)), { recursive: true })
      writeFileSync(join(this.folder, name), content)
    }
  }

  /** Takes programs that all consumers share. @param {readonly string[]} names @param {(code: string) => string} [change] */
  take(names, change = (code) => code) {
    this.write(Object.fromEntries(names.map((name) => [name, change(readFileSync(join(programs, name), 'utf8'))])))
  }

  /** Takes an example of the repository. @param {string} name */
  takeExample(name) {
    cpSync(join(root, 'examples', name), this.folder, { recursive: true })
  }

  /**
   * Runs a program of the tools with this Node.
   *
   * @param {string} name  of the package, with a slash before the program where they differ
   * @param {readonly string[]} args
   * @param {Omit<import('./processes.mjs').How, 'cwd'>} [how]
   */
  tool([name, program = name], args, how) {
    return this.run(process.execPath, [toolProgram(this.tools, name, program), ...args], how)
  }

  /** @param {string} command @param {readonly string[]} args @param {Omit<import('./processes.mjs').How, 'cwd'>} [how] */
  run(command, args, how) {
    return capture(command, args, { cwd: this.folder, ...how })
  }

  /** @param {string} command @param {readonly string[]} args @param {Omit<Parameters<typeof serveWith>[2], 'cwd'>} how */
  serve(command, args, how) {
    return serveWith(command, args, { cwd: this.folder, ...how })
  }

  /**
   * What a page of this project leaves in a browser.
   *
   * @param {string} [folder]  of the project, with an index.html
   * @param {{ browser?: 'chromium' | 'firefox' | 'webkit', headers?: Record<string, string>, page?: string }} [how]
   */
  async open(folder = '.', { browser = 'chromium', headers, page = '/' } = {}) {
    const opened = await this.browsers.get(browser)
    const server = await serveFolder(join(this.folder, folder), headers)
    try {
      return /** @type {Report} */ (await opened.outcome(server.address + page))
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
 * Holds a report against what this consumer has to come to: never less than it can have.
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

export { NotHere }
