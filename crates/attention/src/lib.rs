#![doc = include_str!("../README.md")]
//!
//! # Modules
//!
//! Each mechanism has its own module on top of shared mathematics. Imports run in one direction: mechanisms
//! ([`attention`], [`layers`], [`linear`], [`convolution`], [`hyperbolic`], [`graph`]) → [`math`] → [`simd`]. A
//! mechanism checks each call once, on entry. The call then fails with an [`Error`], or runs over SIMD tiles on the
//! threads of a [`Context`].
//!
//! | module | contents |
//! | --- | --- |
//! | [`attention`] | tiled attention, masks, caches, rotary positions, merging |
//! | [`layers`] | layers with parameters, and their state dicts |
//! | [`linear`] | attention with cost linear in the length, and its stream |
//! | [`convolution`] | causal convolution, with a state to continue from |
//! | [`hyperbolic`] | attention and geometry in hyperbolic space |
//! | [`graph`] | graphs, message passing, graph layers |
//! | [`options`] | options and configurations of attention |
//! | [`ranges`] | the ranges of options |
//! | [`math`] | exponentials, softmax, products, norms, random numbers |
//! | [`simd`] | one trait, with one file per instruction set |
//! | `training` | gradients, and steps of optimizers, with the feature `training` |
//! | [`context`] | threads, progress and cancellation |
//! | [`memory`] | an allocator that counts its bytes |

pub mod attention;
pub mod context;
pub mod convolution;
pub mod error;
pub mod graph;
pub mod hyperbolic;
pub mod layers;
pub mod linear;
pub mod math;
pub mod memory;
pub mod options;
pub mod ranges;
mod scratch;
pub mod simd;
mod sizes;
pub mod tensor;
#[cfg(feature = "training")]
pub mod training;

pub use context::Context;
pub use error::{Code, Error, Result};
pub use tensor::{Shape, Tensor};
