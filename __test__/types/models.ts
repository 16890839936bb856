// Checks that every entry of models matches models.d.ts.
import * as contract from '../../models.js'
import * as node from '../../lib/entries/models.js'
import * as browser from '../../lib/entries/models-browser.js'
import * as workerd from '../../lib/entries/models-workerd.js'

export const names: Record<keyof typeof contract, unknown>[] = [node, browser, workerd]
type Extra = Exclude<keyof typeof node, keyof typeof contract>
export const nothingMore: [Extra] extends [never] ? true : false = true
