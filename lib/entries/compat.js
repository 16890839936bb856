// The original plan's object model for Node, Deno and Bun.
import * as attention from '../../index.js'
import { createCompat } from '../compat.js'

export const { ruVector, AttentionConfig, HyperbolicConfig, MaskType, PerfTimer } = createCompat(attention)
