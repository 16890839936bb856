//! What the mechanisms share: exponentials, logarithms, softmax, products along rows, random numbers. Generic over [`crate::simd`].

pub mod dot;
pub mod exp;
pub mod linear;
pub mod log;
pub mod random;
pub mod softmax;
