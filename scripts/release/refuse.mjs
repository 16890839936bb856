// Ends `npm publish` in the repository: its manifest names no package of a platform, and nothing was checked.
// A release publishes tarballs, for which npm runs no scripts.

console.error(
  'This folder is not for `npm publish`. `npm run release -- VERSION` builds and checks a release; with --publish it publishes it.'
)
process.exitCode = 1
