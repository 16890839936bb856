// What this machine is, by the names of the platforms' packages. Imports nothing, so that scripts can ask before anything is built.

/** Whether the C library is musl: the script `ldd` says so, or, where there is none, the report of the process. */
function isMusl() {
  try {
    const ldd = process.getBuiltinModule('node:fs').readFileSync('/usr/bin/ldd', 'latin1')
    if (ldd.includes('musl')) return true
    if (ldd.includes('GLIBC') || ldd.includes('GNU libc')) return false
  } catch {
    // No such file.
  }
  try {
    const report = /** @type {any} */ (process.report.getReport())
    return !report.header.glibcVersionRuntime
  } catch {
    return false
  }
}

/** The name of this platform's build, such as linux-x64-gnu. */
export function platformTriple() {
  const { platform, arch } = process
  if (platform === 'win32') return `win32-${arch}-msvc`
  if (platform === 'linux') return `linux-${arch}-${isMusl() ? 'musl' : 'gnu'}`
  return `${platform}-${arch}`
}
