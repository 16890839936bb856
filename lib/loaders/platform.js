// The name of this machine's platform package. Imports nothing, so that scripts can use it before anything is built.

/** Detects musl as the C library: from the script `ldd`, or, if there is none, from the process report. */
function isMusl() {
  try {
    const ldd = process.getBuiltinModule('node:fs').readFileSync('/usr/bin/ldd', 'latin1')
    if (ldd.includes('musl')) return true
    if (ldd.includes('GLIBC') || ldd.includes('GNU libc')) return false
  } catch {
    // No such file.
  }
  try {
    return !reportWithoutNetwork().header.glibcVersionRuntime
  } catch {
    return false
  }
}

/**
 * The process report without the names of open sockets, which take seconds to resolve if a name server does not
 * respond.
 */
function reportWithoutNetwork() {
  const report = /** @type {any} */ (process.report)
  const { excludeNetwork } = report
  report.excludeNetwork = true
  try {
    return report.getReport()
  } finally {
    report.excludeNetwork = excludeNetwork
  }
}

/** The name of this platform's build, such as linux-x64-gnu. */
export function platformTriple() {
  const { platform, arch } = process
  if (platform === 'win32') return `win32-${arch}-msvc`
  if (platform === 'linux') return `linux-${arch}-${isMusl() ? 'musl' : 'gnu'}`
  return `${platform}-${arch}`
}
