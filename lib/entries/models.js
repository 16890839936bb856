// Whole models over the entry of Node, Deno and Bun.
import * as attention from '../../index.js'
import { shared } from '../checks/shared.js'
import { createModels } from '../models/index.js'

export const { Corpus, Model, createCorpus, loadModel, openCorpus, openGguf, readTexts } = shared('models', () =>
  createModels(attention)
)
