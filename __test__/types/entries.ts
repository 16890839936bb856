// Checks that every entry matches index.d.ts, and that the API of loadBackend matches the entry.
import * as contract from '../../index.js'
import * as browser from '../../lib/entries/browser.js'
import * as external from '../../lib/entries/external.js'
import * as workerd from '../../lib/entries/workerd.js'
import { createEntry } from '../../lib/entries/entry.js'
import { createApi } from '../../lib/face/api.js'
import { loader } from '../../lib/loaders/loader.js'

export const entries: (typeof contract)[] = [browser, external, workerd, createEntry(loader, createApi)]

// No entry has additional exports.
type Extra = Exclude<keyof typeof browser | keyof typeof external | keyof typeof workerd, keyof typeof contract>
export const nothing: [Extra] extends [never] ? true : false = true

import * as coreContract from '../../core.js'
import * as core from '../../lib/entries/core.js'
import * as coreBrowser from '../../lib/entries/core-browser.js'
import * as coreExternal from '../../lib/entries/core-external.js'
import * as coreWorkerd from '../../lib/entries/core-workerd.js'

export const coreEntries: (typeof coreContract)[] = [core, coreBrowser, coreExternal, coreWorkerd]
type CoreExtra = Exclude<keyof typeof core | keyof typeof coreBrowser, keyof typeof coreContract>
export const nothingBeyondCore: [CoreExtra] extends [never] ? true : false = true

import * as compatContract from '../../compat.js'
import * as compatNode from '../../lib/entries/compat.js'
import * as compatBrowser from '../../lib/entries/compat-browser.js'
import * as compatExternal from '../../lib/entries/compat-external.js'
import * as compatWorkerd from '../../lib/entries/compat-workerd.js'

// Every entry of the plan's interface has the same names; the specs call each of them.
export const compatNames: Record<keyof typeof compatContract, unknown>[] = [
  compatNode,
  compatBrowser,
  compatExternal,
  compatWorkerd
]
type CompatExtra = Exclude<keyof typeof compatNode, keyof typeof compatContract>
export const nothingMore: [CompatExtra] extends [never] ? true : false = true
