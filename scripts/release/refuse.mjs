// Refuses `npm publish` in the repository: its manifest lacks the platform packages, and nothing was checked. A release
// publishes tarballs, for which npm does not run scripts.

console.error(
  'This folder is not for `npm publish`. `npm run release -- VERSION` builds and checks a release; with --publish it publishes it.'
)
process.exitCode = 1
