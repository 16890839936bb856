// Finds browsers and other programs on this machine. Uses only Node's own modules, since the setup calls it.

import { existsSync } from 'node:fs'
import { delimiter, join } from 'node:path'
import { Failure } from './shell.mjs'

/**
 * The Chromium or Chrome that the browser test drives: `CHROME_PATH`, or the usual names and places.
 * @returns {string | undefined}
 */
export function findBrowser() {
  const named = process.env.CHROME_PATH
  if (named) {
    if (!existsSync(named)) throw new Failure(`CHROME_PATH names ${named}, which does not exist`)
    return named
  }
  const names = ['chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable', 'chrome']
  const places = [
    '/Applications/Google Chrome.app/Contents/MacOS/Google Chrome',
    '/Applications/Chromium.app/Contents/MacOS/Chromium',
    'C:\\Program Files\\Google\\Chrome\\Application\\chrome.exe',
    'C:\\Program Files (x86)\\Microsoft\\Edge\\Application\\msedge.exe'
  ]
  return findProgram(names) ?? places.find((path) => existsSync(path))
}

/** Lets that browser start in a container, and contact nothing by itself. */
export const BROWSER_ARGS = [
  '--no-sandbox',
  '--disable-gpu',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync'
]

/**
 * Finds the first of these programs on PATH.
 * @param {readonly string[]} names
 * @returns {string | undefined}
 */
export function findProgram(names) {
  const folders = (process.env.PATH ?? '').split(delimiter)
  return names.flatMap((name) => folders.map((folder) => join(folder, name))).find((path) => existsSync(path))
}

/** The Firefox for the consumers of the package: `FIREFOX_PATH`, or the usual names. */
export const findFirefox = () => process.env.FIREFOX_PATH ?? findProgram(['firefox-esr', 'firefox'])
