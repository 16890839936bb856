//! Mathematics shared by the mechanisms, generic over [`crate::simd`]: exponentials, logarithms, angles, softmax,
//! products along rows, random numbers.

pub mod activation;
pub mod angle;
pub mod broadcast;
pub mod decimal;
pub mod dot;
pub(crate) mod elementwise;
pub mod exp;
pub(crate) mod gate;
pub mod largest;
pub mod linear;
pub mod log;
pub mod norm;
pub(crate) mod pieces;
pub mod pool;
pub(crate) mod product;
pub mod quantized;
pub mod random;
pub mod softmax;
pub mod stats;
pub mod sum;
pub mod top_k;
pub mod weight;
