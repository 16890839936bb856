// Whole models over the entry of Cloudflare's runtime.
import * as attention from './workerd.js'
import { createModels } from '../models/index.js'

export const { Model, loadModel } = createModels(attention)
