//! The functions as the bindings call them: a header of thread limit and shapes, arrays as slices, options as JSON.
//!
//! A header is `[threads, rank, dim, …, rank, dim, …]`: the thread limit, then each tensor argument's shape in order, the
//! mask's last where one is given. Bindings only convert; what they would both have to know stands here once.

use crate::error::{Code, Error, Result};
use crate::math::linear;
use crate::math::softmax;
use crate::multi_head::{Inputs, MultiHeadAttention};
use crate::options::{AttentionOptions, LayerOptions};
use crate::sdpa::mask::Mask;
use crate::sdpa::{self, Arrays, Outputs};
use crate::simd::Level;
use crate::tensor::{MAX_RANK, Tensor};
use crate::threads::Context;

/// The array-valued options, as they come.
#[derive(Debug, Clone, Copy, Default)]
pub struct ArrayOptions<'a> {
    /// A boolean mask; a call has one mask at most.
    pub boolean_mask: Option<&'a [u8]>,
    /// A float mask.
    pub float_mask: Option<&'a [f32]>,
    /// The key position of query 0 for each batch entry.
    pub query_offset: Option<&'a [i32]>,
    /// Valid keys of each batch entry.
    pub kv_lengths: Option<&'a [i32]>,
}

/// `scaledDotProductAttention`. The header holds the shapes of q, k, v.
pub fn scaled_dot_product_attention(
    header: &[f64],
    [q, k, v]: [&[f32]; 3],
    options: Option<&str>,
    arrays: ArrayOptions<'_>,
    outputs: Outputs<'_>,
) -> Result<()> {
    let mut header = Header::new(header)?;
    let (q, k, v) = (header.tensor("q", q)?, header.tensor("k", k)?, header.tensor("v", v)?);
    let options = AttentionOptions::parse(options)?;
    let arrays = header.arrays(arrays)?;
    sdpa::scaled_dot_product_attention(header.context, q, k, v, &options, arrays, outputs)
}

/// `attentionWeights`. The header holds the shapes of q, k.
pub fn attention_weights(
    header: &[f64],
    [q, k]: [&[f32]; 2],
    options: Option<&str>,
    arrays: ArrayOptions<'_>,
    output: &mut [f32],
) -> Result<()> {
    let mut header = Header::new(header)?;
    let (q, k) = (header.tensor("q", q)?, header.tensor("k", k)?);
    let options = AttentionOptions::parse_for_weights(options)?;
    let arrays = header.arrays(arrays)?;
    sdpa::attention_weights(header.context, q, k, &options, arrays, output)
}

/// `softmax`. The header holds the shape of x.
pub fn softmax(header: &[f64], x: &[f32], output: &mut [f32]) -> Result<()> {
    let mut header = Header::new(header)?;
    softmax::softmax(header.context, header.tensor("x", x)?, output)
}

/// `linear`. The header holds the shapes of x, weight and, where there is one, bias.
pub fn linear(header: &[f64], x: &[f32], weight: &[f32], bias: Option<&[f32]>, output: &mut [f32]) -> Result<()> {
    let mut header = Header::new(header)?;
    let (x, weight) = (header.tensor("x", x)?, header.tensor("weight", weight)?);
    let bias = bias.map(|bias| header.tensor("bias", bias)).transpose()?;
    linear::linear(header.context, x, weight, bias, output)
}

/// `MultiHeadAttention.forward`. The header holds the shapes of q and, where they are given, k and v.
pub fn multi_head_forward(
    layer: &MultiHeadAttention,
    header: &[f64],
    q: &[f32],
    k: Option<&[f32]>,
    v: Option<&[f32]>,
    training: bool,
    options: Option<&str>,
    arrays: ArrayOptions<'_>,
    output: &mut [f32],
    weights: Option<&mut [f32]>,
) -> Result<()> {
    let mut header = Header::new(header)?;
    let query = header.tensor("q", q)?;
    let key = k.map(|k| header.tensor("k", k)).transpose()?;
    let value = v.map(|v| header.tensor("v", v)).transpose()?;
    let options = LayerOptions::parse(options)?;
    let arrays = header.arrays(arrays)?;
    layer.forward(header.context, Inputs { query, key, value }, &options, arrays, training, output, weights)
}

/// What is left of a header.
struct Header<'a> {
    context: Context,
    shapes: &'a [f64],
}

impl<'a> Header<'a> {
    fn new(header: &'a [f64]) -> Result<Self> {
        let (&threads, shapes) = header.split_first().ok_or_else(cut_short)?;
        Ok(Self { context: Context { level: Level::current(), threads: (threads as usize).max(1) }, shapes })
    }

    /// The tensor over `data` whose shape comes next.
    fn tensor<'t, T>(&mut self, argument: &str, data: &'t [T]) -> Result<Tensor<'t, T>> {
        let (&rank, rest) = self.shapes.split_first().ok_or_else(cut_short)?;
        let rank = rank as usize;
        if rank > MAX_RANK {
            let actual = format!("{rank} dimensions");
            return Err(Error::shape(argument, format!("at most {MAX_RANK} dimensions"), actual));
        }
        if rest.len() < rank {
            return Err(cut_short());
        }
        let (shape, rest) = rest.split_at(rank);
        self.shapes = rest;
        let mut dims = [0; MAX_RANK];
        for (dim, &given) in dims.iter_mut().zip(shape) {
            // Whole numbers below 2⁵³: JavaScript checked them. What exceeds this machine's sizes saturates.
            *dim = given as usize;
        }
        Tensor::new(argument, data, &dims[..rank])
    }

    fn arrays<'t>(&mut self, given: ArrayOptions<'t>) -> Result<Arrays<'t>> {
        let mask = match (given.boolean_mask, given.float_mask) {
            (Some(mask), _) => Some(Mask::Boolean(self.tensor("mask", mask)?)),
            (None, Some(mask)) => Some(Mask::Float(self.tensor("mask", mask)?)),
            (None, None) => None,
        };
        Ok(Arrays { mask, query_offset: given.query_offset, kv_lengths: given.kv_lengths })
    }
}

fn cut_short() -> Error {
    Error::new(Code::Internal, "header", "a shape for each tensor", "fewer")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_are_read_in_order_and_a_short_header_is_a_fault() {
        let data = [0.5; 6];
        let mut header = Header::new(&[3.0, 2.0, 2.0, 3.0, 0.0, 1.0, 6.0]).unwrap();
        assert_eq!(header.context.threads, 3);
        assert_eq!(header.tensor("a", &data).unwrap().shape.dims(), [2, 3]);
        assert_eq!(header.tensor("b", &data[..1]).unwrap().shape.dims(), [] as [usize; 0]);
        assert_eq!(header.tensor("c", &data).unwrap().shape.dims(), [6]);
        assert_eq!(header.tensor("d", &data).unwrap_err().code, Code::Internal);
        assert_eq!(Header::new(&[1.0, 3.0, 2.0]).unwrap().tensor("a", &data).unwrap_err().code, Code::Internal);
        assert_eq!(Header::new(&[1.0, 9.0]).unwrap().tensor("a", &data).unwrap_err().argument, "a");
    }

    #[test]
    fn a_dimension_beyond_every_memory_is_a_shape_error() {
        let mut header = Header::new(&[1.0, 3.0, 1e15, 1e15, 1e15]).unwrap();
        assert_eq!(header.tensor("x", &[0.0f32; 4]).unwrap_err().code, Code::Shape);
    }
}
