// Whole models over the entry for `/core` of Cloudflare's runtime.
import * as attention from './core-workerd.js'
import { createModels } from '../models/index.js'

export const { Corpus, Model, createCorpus, loadModel, openCorpus, openGguf, readTexts } = createModels(attention)
