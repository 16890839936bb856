// What the parts of the benchmark hand to each other.

import type { Tensor } from '../index.js'

interface Shape {
  /** What the tables and `--filter` call it. */
  name: string
  group: string
  batch: number
  heads: number
  kvHeads: number
  queries: number
  keys: number
  /** Of a head. */
  dim: number
  causal: boolean
  mask?: 'boolean' | 'float'
  /** Whether our keys and values lie in a cache. */
  cached?: boolean
  /** Whether peers are left out. */
  ownOnly?: boolean
  /** Whether our calls write into memory that they are given. */
  out: boolean
  /** The unit of speed: floating-point operations, bytes, calls, or only time. */
  unit: 'GF/s' | 'GB/s' | 'op/s' | 'µs'
  /** Of attention over a graph. */
  version?: 1 | 2
}

/**
 * Attention by itself, by hyperbolic distance, or linear; a layer of self attention, or of an encoder, with GELU and a feed-forward network four
 * times as wide as the model, as BERT's; or a layer of attention over the `keys` edges of `queries` nodes.
 */
export type Kind = 'attention' | 'linear' | 'hyperbolic' | 'layer' | 'encoder' | 'graph'

/** One measurement of several contenders on the same inputs. */
export interface Case extends Shape {
  kind: Kind
  threads: number
  /** Floating-point operations, halved when causal. */
  flops: number
  /** Of the keys and values. */
  bytes: number
}

/** `q`, `k`, `v` are `[B,H,L,D]` and `[B,G,S,D]`; a layer has `x [B,L,M]`, one over a graph `x [N,M]`, and its parameters. */
export interface Inputs {
  q: Tensor
  k: Tensor
  v: Tensor
  mask?: Tensor<Uint8Array> | Tensor<Float32Array>
  x: Tensor
  state: Record<string, Tensor>
  /** Of a graph. */
  edges?: { source: Int32Array; target: Int32Array }
}

/** A contender that is ready to run one case: it is timed from here, or times itself. */
export type Prepared = { dispose?: () => unknown } & (
  | { run: () => unknown; read: (result: any) => Float32Array }
  | {
      /** Runs so many times; gives the seconds that all of them took. */
      time: (count: number) => Promise<number>
      /** The result as the case's layout has it; undefined where there is none to check. */
      output?: () => Promise<Float32Array>
    }
)

export interface Contender {
  name: string
  /** Which package it belongs to: peers that are one program in several ways share it. */
  family: string
  side: 'ours' | 'peer' | 'machine'
  version: string
  /** Whether it runs in an engine that optimises while it runs. */
  warmsUp: boolean
  /** Floating-point operations beyond which a single call would take too long. */
  mostFlops?: number
  /** Whether it has more than one thread to offer. */
  threaded: boolean
  /** What it computes; attention and layers unless given. */
  kinds?: readonly Kind[]
  /** Gets ready for a case, or says why it cannot run it. */
  prepare: (problem: Case, inputs: Inputs) => Promise<Prepared | string> | Prepared | string
  close?: () => unknown
}

/** A peer that is here, or why it is not. */
export type Found = { contenders: Contender[] } | { absent: string; reason: string }

/** One contender's times in one case. */
export interface Row {
  case: Case
  contender: string
  family: string
  side: Contender['side']
  /** Of one call: the median, the least, and the quartiles. */
  milliseconds: { median: number; best: number; low: number; high: number }
  rounds: number
  gflops: number
  gbps: number
  /** Calls per second. */
  rate: number
  /** The largest absolute difference from our own output. */
  difference?: number
  /** How many times as long it takes as each of ours: the median over the rounds in which both ran. */
  ratios: Record<string, number>
}

/** What is measured once rather than against others. */
export interface Figure {
  name: string
  group: string
  value: number
  unit: string
  detail: string
}

/** A contender that could not run a case, or gave another result. */
export interface Remark {
  case: string
  contender: string
  kind: 'skipped' | 'failed' | 'differs'
  text: string
}

export interface Goal {
  name: string
  limit: number
  atLeast: boolean
  unit: string
  measured?: number
  detail: string
  status: 'holds' | 'misses' | 'not measured'
}

export interface Report {
  date: string
  version: string
  machine: Record<string, string>
  quick: boolean
  /** The peers that took part. */
  peers: { name: string; version: string }[]
  absent: { name: string; reason: string }[]
  rows: Row[]
  figures: Figure[]
  remarks: Remark[]
  goals: Goal[]
}
