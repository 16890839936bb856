// Runs the check from CommonJS.
const attention = require('@ruvector/attention')
const compat = require('@ruvector/attention/compat')
const plot = require('@ruvector/attention/plot')
const { check, checkSubpaths } = require('./check.js')

void (async () => {
  const report = await check(attention)
  await checkSubpaths(compat, plot)
  console.log(JSON.stringify(report))
})()
