//! Exact attention kernels on plain slices.
//!
//! Every mechanism has a room of its own; below them lies what they share, and arrows run one way:
//! mechanisms ([`sdpa`], [`multi_head`], [`encoder`], [`graph`], [`linear`]) → [`math`] → [`simd`]. A call is checked once, at a mechanism's door, and becomes an
//! [`Error`] or a plan that runs over SIMD tiles on the threads of a [`Context`]. Nothing here knows of JavaScript.
//!
//! ```
//! use ruvector_attention::{Context, Tensor, options::AttentionOptions, sdpa};
//!
//! let data = [1.0, 0.0, 0.0, 1.0];
//! let x = Tensor::new("x", &data, &[1, 2, 2])?;
//! let mut output = [0.0; 4];
//! let options = AttentionOptions { causal: true, ..AttentionOptions::default() };
//! let outputs = sdpa::Outputs { output: &mut output, ..sdpa::Outputs::default() };
//! sdpa::scaled_dot_product_attention(Context::default(), x, x, x, &options, sdpa::Arrays::default(), outputs)?;
//! assert_eq!(output[..2], [1.0, 0.0]);
//! # Ok::<(), ruvector_attention::Error>(())
//! ```

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
