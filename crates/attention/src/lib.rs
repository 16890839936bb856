#![doc = include_str!("../README.md")]
//!
//! # Rooms
//!
//! Every mechanism has a room of its own; below them lies what they share, and arrows run one way: mechanisms ([`sdpa`],
//! [`multi_head`], [`encoder`], [`graph`], [`linear`], [`hyperbolic`]) → [`math`] → [`simd`]. A call is checked once, at a
//! mechanism's door, and becomes an [`Error`] or a plan that runs over SIMD tiles on the threads of a [`Context`].
//!
//! | module | what is in it |
//! | --- | --- |
//! | [`sdpa`] | attention in tiles, masks, caches, rotary positions, merging |
//! | [`multi_head`], [`encoder`] | layers with parameters |
//! | [`linear`] | attention linear in the length, and its stream |
//! | [`hyperbolic`] | attention and geometry in hyperbolic space |
//! | [`graph`] | edges by target, messages, graph layers |
//! | [`options`] | every option and its checks |
//! | [`weights`] | state dicts, their names, safetensors |
//! | [`math`] | exponentials, softmax, products, norms, random numbers |
//! | [`simd`] | one trait, a file an instruction set |
//! | [`threads`] | the pool |
//! | [`calls`] | the table of operations through which bindings call |

pub mod calls;
pub mod encoder;
pub mod error;
pub mod graph;
pub mod hyperbolic;
mod json;
pub mod linear;
pub mod math;
pub mod memory;
pub mod multi_head;
pub mod options;
#[cfg(not(target_family = "wasm"))]
#[doc(hidden)]
pub mod reference;
mod scratch;
pub mod sdpa;
pub mod simd;
pub mod tensor;
pub mod threads;
pub mod weights;

pub use error::{Code, Error, Result};
pub use tensor::{Shape, Tensor};
pub use threads::Context;
