//! What the mechanisms share: exponentials, angles, softmax, products along rows, random numbers. Generic over [`crate::simd`].

pub mod angle;
pub mod dot;
pub mod exp;
pub mod linear;
pub mod random;
pub mod softmax;
pub mod stats;
