// The original plan's object model over the entry of browsers.
import * as attention from './browser.js'
import { createCompat } from '../compat.js'

export const { ruVector, AttentionConfig, HyperbolicConfig, MaskType, PerfTimer } = createCompat(attention)
