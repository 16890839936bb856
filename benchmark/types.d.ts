// Types shared by the modules of the benchmark.

import type { Tensor, WeightType } from '../index.js'

interface Shape {
  /** The name in tables and for `--filter`. */
  name: string
  group: string
  batch: number
  heads: number
  kvHeads: number
  queries: number
  keys: number
  /** The size of a head. */
  dim: number
  causal: boolean
  mask?: 'boolean' | 'float'
  /** Further terms of softmax: a relative bias of each head, or sinks. */
  beside?: 'relativeBias' | 'sinks'
  /** The lengths of packed sequences, whose sum is `queries`. */
  lengths?: readonly number[]
  /** True if our keys and values are in a cache. */
  cached?: boolean
  /** True if peers do not take part. */
  ownOnly?: boolean
  /** The type of the weights of a product or of a model. */
  weightType?: WeightType
  /** The texts of a model; `batch` is their number. */
  texts?: import('./texts.js').TextSet
  /** True if our calls write into given memory. */
  out: boolean
  /** The unit of speed: floating-point operations, bytes, calls, texts, or only time. */
  unit: 'GF/s' | 'GB/s' | 'op/s' | 'texts/s' | 'µs'
  /** The edges, for attention over a graph. */
  version?: 1 | 2
}

/**
 * Exact, hyperbolic or linear attention; recurrent linear attention by the gated delta rule; a layer of self-attention;
 * an encoder layer with GELU and a feed-forward network four times as wide as the model, as in BERT; a layer of
 * attention over the `keys` edges of `queries` nodes; the product of `queries` rows of `dim` values with a weight of
 * `keys` rows; a whole model from texts to vectors; or attention, also over a graph, forward and backward, whose result
 * is the gradient of its first input.
 */
export type Kind =
  | 'attention'
  | 'linear'
  | 'recurrent'
  | 'hyperbolic'
  | 'layer'
  | 'encoder'
  | 'graph'
  | 'product'
  | 'model'
  | 'attention-gradients'
  | 'graph-gradients'

/** One measurement of several contenders on the same inputs. */
export interface Case extends Shape {
  kind: Kind
  threads: number
  /** Floating-point operations, halved when causal. */
  flops: number
  /** Bytes of the keys and values. */
  bytes: number
}

/**
 * `q`, `k`, `v` are `[B,H,L,D]` and `[B,G,S,D]`; layers have `x [B,L,M]`, or `x [N,M]` over a graph, and parameters.
 */
export interface Inputs {
  q: Tensor
  k: Tensor
  v: Tensor
  mask?: Tensor<Uint8Array> | Tensor<Float32Array>
  x: Tensor
  state: Record<string, Tensor>
  /** The gates `[B,H,L]` of recurrent linear attention. */
  gates?: { decay: Tensor; beta: Tensor }
  /** The gradient of the output. */
  gradient?: Tensor
  /** The edges of a graph. */
  edges?: { source: Int32Array; target: Int32Array }
}

/** A contender that is ready to run one case: either we time it, or it times itself. */
export type Prepared = { dispose?: () => unknown } & (
  | { run: () => unknown; read: (result: any) => Float32Array }
  | {
      /** Runs `count` times; returns the total in seconds. */
      time: (count: number) => Promise<number>
      /** The result in the layout of the case; undefined if there is none to check. */
      output?: () => Promise<Float32Array>
    }
)

export interface Contender {
  name: string
  /** The package of the contender; several ways to use one package share it. */
  family: string
  side: 'ours' | 'peer' | 'machine'
  version: string
  /** True if it runs in an engine that optimizes code at run time. */
  warmsUp: boolean
  /** The maximum number of floating-point operations; a larger call would take too long. */
  mostFlops?: number
  /** True if it can use more than one thread. */
  threaded: boolean
  /** The kinds of cases that it supports. Default: attention and layers. */
  kinds?: readonly Kind[]
  /** Prepares a case, or returns the reason that it cannot run it. */
  prepare: (problem: Case, inputs: Inputs) => Promise<Prepared | string> | Prepared | string
  close?: () => unknown
}

/** An available peer, or the reason that it is missing. */
export type Found = { contenders: Contender[] } | { absent: string; reason: string }

/** The times of one contender in one case. */
export interface Row {
  case: Case
  contender: string
  family: string
  side: Contender['side']
  /** The time of one call: median, minimum and quartiles. */
  milliseconds: { median: number; best: number; low: number; high: number }
  rounds: number
  gflops: number
  gbps: number
  /** Calls per second. */
  rate: number
  /** The largest absolute difference from our own output. */
  difference?: number
  /** The time divided by that of each of ours: the median over the rounds in which both ran. */
  ratios: Record<string, number>
}

/** A measurement without contenders. */
export interface Figure {
  name: string
  group: string
  value: number
  unit: string
  detail: string
}

/** A contender that could not run a case, or returned a different result. */
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
