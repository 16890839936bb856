// The TypeDoc configuration of the site: the guides in reading order, and the types of every entry.
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { root } from '../../tools/shell.mjs'

const guides = [
  'getting-started',
  'embed-a-corpus',
  're-rank',
  'look-at-attention',
  'models',
  'training',
  'mechanisms',
  'masks-and-shapes',
  'pytorch-weights',
  'models-of-today',
  'conformance',
  'kv-cache',
  'linear-attention',
  'hyperbolic',
  'graphs',
  'plot',
  'asynchronous',
  'scale',
  'performance',
  'runtimes',
  'reliability',
  'explorer',
  'migrating',
  'internals'
].map((name) => `docs/${name}.md`)

/** A guide that does not exist yet would leave broken links. */
const written = guides.filter((path) => existsSync(join(root, path)))

/** @type {Partial<import('typedoc').TypeDocOptions>} */
export default {
  name: '@ruvector/attention',
  entryPoints: [
    'index.d.ts',
    'plot.d.ts',
    'compat.d.ts',
    'models.d.ts',
    'training.d.ts',
    'lib/graphology/index.d.ts'
  ].map((path) => join(root, path)),
  // Declarations only, so that nothing has to be built first.
  tsconfig: join(root, 'scripts', 'docs', 'tsconfig.json'),
  readme: join(root, 'README.md'),
  projectDocuments: [...written, 'CHANGELOG.md', 'CONTRIBUTING.md'].map((path) => join(root, path)),
  plugin: [join(root, 'scripts', 'docs', 'headings.js')],
  out: join(root, 'output', 'docs'),
  customCss: join(root, 'scripts', 'docs', 'style.css'),
  highlightLanguages: ['js', 'ts', 'py', 'rust', 'sh', 'html', 'json', 'toml'],
  // Base types that only the classes of the plan's interface share.
  intentionallyNotExported: ['Freed', 'Mechanism', 'LayerMechanism', 'ShapesAndMask', 'ShapesMaskAndWatch'],
  includeVersion: true,
  hideGenerator: true,
  disableSources: true,
  preservedTypeAnnotationTags: ['@throws'],
  // Source order keeps related declarations together.
  sort: ['source-order'],
  sortEntryPoints: false,
  kindSortOrder: ['Document', 'Module', 'Function', 'Class', 'Interface', 'TypeAlias', 'Variable'],
  headings: { readme: false, document: false },
  navigation: { includeGroups: false, includeCategories: false, includeFolders: false },
  // Guides come first among the results of a search, by their text.
  searchInDocuments: true,
  searchGroupBoosts: { Documents: 20 },
  // The class hierarchy is also described in the text.
  validation: {
    notExported: true,
    invalidLink: true,
    invalidPath: written.length === guides.length,
    rewrittenLink: true,
    notDocumented: false,
    unusedMergeModuleWith: true
  },
  treatWarningsAsErrors: true
}
