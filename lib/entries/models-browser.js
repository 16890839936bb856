// Whole models over the entry of browsers.
import * as attention from './browser.js'
import { createModels } from '../models/index.js'

export const { Model, loadModel } = createModels(attention)
