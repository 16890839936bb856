//! Tests of the kernels against the oracle and the promised semantics, at every instruction set of this machine.

#![allow(missing_docs, reason = "test names are sentences")]

mod activation;
mod attention;
mod blank;
mod cache;
mod convolution;
mod edges;
mod encoder;
mod errors;
mod flash;
mod graph;
mod hyperbolic;
mod layers;
mod linear;
mod merge;
mod packed;
mod products;
mod quantized;
mod recurrent;
mod rotary;
mod sinks;
mod support;
mod tile_unit;
mod top_k;
