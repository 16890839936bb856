// Whole models over the entry for `/core` of browsers.
import * as attention from './core-browser.js'
import { createModels } from '../models/index.js'

export const { Corpus, Model, createCorpus, loadModel, openCorpus, openGguf, readTexts } = createModels(attention)
