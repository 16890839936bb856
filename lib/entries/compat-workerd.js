// The original plan's object model over the entry of Cloudflare's runtime.
import * as attention from './workerd.js'
import { createCompat } from '../compat.js'

export const { ruVector, AttentionConfig, HyperbolicConfig, MaskType, PerfTimer } = createCompat(attention)
