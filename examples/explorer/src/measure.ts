// Times the mechanisms on every backend in this browser: both variants of the module, and all workers together.

import { backend, loadBackend } from '@ruvector/attention/external'
import type { Attention } from '@ruvector/attention'
import simdAddress from '@ruvector/attention/attention.simd.wasm?url'
import patchAddress from '@ruvector/attention/attention.relaxed.patch?url'
import { breathe, median, medianTime, prepare } from './compute.ts'
import type { Task } from './compute.ts'
import { start } from './mechanisms.ts'
import type { Model } from './model.ts'
import type { Timing } from './protocol.ts'
import { LONG, effective } from './settings.ts'
import type { Settings } from './settings.ts'

const SHORT_BUDGET = 400
const SHORT_TIMES = 51
const LONG_RUNS = 5

interface Candidate {
  name: string
  bytes: number
  isPatched: boolean
  threads: number
}

/** All candidates; those that do not work are detected by running them. */
function candidates(isLong: boolean): Candidate[] {
  const { threads, simd } = backend()
  const variants = [
    { name: 'Relaxed SIMD', bytes: __WASM_BYTES__.relaxed, isPatched: true, threads: 1 },
    { name: 'SIMD', bytes: __WASM_BYTES__.simd, isPatched: false, threads: 1 }
  ]
  if (!isLong || threads === 1) return variants
  // Short calls are never split, so more workers make no difference.
  const best = simd.includes('relaxed') ? variants[0] : variants[1]
  return [...variants, { ...best, name: `${best.name}, ${threads} workers`, threads }]
}

export async function measure(model: Model, given: Settings, { signal, report }: Task): Promise<Timing[]> {
  const settings = effective(given, model.layers)
  const isLong = settings.length > LONG
  const all = candidates(isLong)
  const timings: Timing[] = []
  for (const [index, candidate] of all.entries()) {
    const part = (fraction: number) => report((index + fraction) / all.length, candidate.name)
    part(0)
    await breathe()
    signal.throwIfAborted()
    timings.push(await measureOne(candidate, model, settings, { signal, report: part }))
  }
  return timings
}

async function measureOne(
  { name, bytes, isPatched, threads }: Candidate,
  model: Model,
  settings: Settings,
  task: Task
) {
  try {
    const [wasm, patch] = [simdAddress, patchAddress].map((address) => new URL(address, self.location.href))
    const api = await loadBackend('wasm', { wasm, ...(isPatched && { patch }), threads })
    return { name, bytes, ...(await timesOn(api, model, settings, task)) }
  } catch (error) {
    if (task.signal.aborted) throw error
    return { name, bytes, failure: error instanceof Error ? error.message : String(error) }
  }
}

async function timesOn(api: Attention, model: Model, settings: Settings, { signal, report }: Task) {
  const running = start(api, model.layer(settings.layer), await prepare(model, settings), settings)
  try {
    if (settings.length <= LONG) return medianTime(() => running.forward(), SHORT_BUDGET, SHORT_TIMES)
    const times: number[] = []
    for (let run = 0; run <= LONG_RUNS; run++) {
      const begin = performance.now()
      await running.forwardAsync({ signal })
      // The first run starts the workers and does not count.
      if (run > 0) times.push(performance.now() - begin)
      report((run + 1) / (LONG_RUNS + 1), '')
    }
    return { milliseconds: median(times), runs: times.length }
  } finally {
    running.dispose()
  }
}
