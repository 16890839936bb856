// The largest resident set that this process has had, in bytes.

import { readFileSync } from 'node:fs'

/** Linux's getrusage, which Node reports, begins with the peak of the process that started this one. */
export function peakMemory() {
  if (process.platform === 'linux') {
    const [, kilobytes] = readFileSync('/proc/self/status', 'utf8').match(/^VmHWM:\s*(\d+) kB$/m) ?? []
    if (kilobytes !== undefined) return Number(kilobytes) * 1024
  }
  return process.resourceUsage().maxRSS * 1024
}
