//! What the mechanisms share: exponentials, softmax, products along rows, random numbers. Generic over [`crate::simd`].

pub mod activation;
pub mod dot;
pub mod exp;
pub mod linear;
pub mod norm;
pub mod pool;
pub mod random;
pub mod softmax;
