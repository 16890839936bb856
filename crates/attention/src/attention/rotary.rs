//! Rotary position embedding: rotates pairs of a row's features by angles proportional to the row's position, as in the
//! ONNX operator `RotaryEmbedding` (Su et al. 2021).

use crate::attention::{Dims, Strides};
use crate::context::rows::{self, OwnRows, RowLayout};
use crate::context::{Context, operations};
use crate::error::{Error, Result};
use crate::math::angle::{LARGEST_ANGLE, sin_cos};
use crate::options::Layout;
use crate::ranges;
use crate::scratch::{self, Scratch};
use crate::simd::{Kernel, Simd};
use crate::sizes::ROTARY_ROWS;
use crate::tensor::{Tensor, check_output, try_zeroed};

/// Rotary position embedding of a layer's queries and keys.
#[derive(Debug, Clone, Copy, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, rename_all = "camelCase", deny_unknown_fields)
)]
pub struct Rotary {
    /// Pair i is rotated by `position · base^(−2i/dim)`; at least 1 and less than 10¹⁵, 10⁴ by default.
    pub base: f64,
    /// If true, pairs are neighbors, `(x[2i], x[2i+1])`; otherwise pairs span the two halves, `(x[i], x[i+dim/2])`.
    pub interleaved: bool,
    /// The number of leading features to rotate, which must be even. Default: all features.
    pub dim: Option<usize>,
}

impl Default for Rotary {
    fn default() -> Self {
        Self { base: 10_000.0, interleaved: false, dim: None }
    }
}

impl Rotary {
    /// Returns the same options with `dim` filled in, if it fits rows of `size` features.
    pub(crate) fn resolved(self, size: usize) -> Result<Self> {
        self.check()?;
        let dim = self.dim.unwrap_or(size);
        if dim > size || !dim.is_multiple_of(2) {
            let expected = format_args!("an even integer from 2 to the head size {size}");
            return Err(match self.dim {
                Some(_) => Error::value("dim", expected, dim),
                None => Error::option("dim", expected, dim),
            });
        }
        Ok(Self { dim: Some(dim), ..self })
    }

    fn check(self) -> Result<()> {
        let fits = (1.0..1e15).contains(&self.base);
        ranges::number("base", self.base, fits, "a number of at least 1 and less than 1e15")?;
        match self.dim {
            Some(dim) if dim < 2 || dim % 2 != 0 || i32::try_from(dim).is_err() => {
                Err(Error::value("dim", "an even integer of at least 2", dim))
            }
            _ => Ok(()),
        }
    }
}

/// The options of [`rotary_embedding`].
#[derive(Debug, Clone, Copy, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, rename_all = "camelCase", deny_unknown_fields)
)]
pub struct RotaryOptions {
    /// Pair i is rotated by `position · scale · base^(−2i/dim)`; at least 1 and less than 10¹⁵, 10⁴ by default.
    pub base: f64,
    /// If true, pairs are neighbors, `(x[2i], x[2i+1])`; otherwise pairs span the two halves, `(x[i], x[i+dim/2])`.
    pub interleaved: bool,
    /// The number of leading features to rotate, which must be even. Default: all features.
    pub dim: Option<usize>,
    /// The factor of the positions, at least 0; 1 by default.
    pub scale: f64,
    /// The order of the dimensions of a 4-D input.
    pub layout: Layout,
}

impl Default for RotaryOptions {
    fn default() -> Self {
        let Rotary { base, interleaved, dim } = Rotary::default();
        Self { base, interleaved, dim, scale: 1.0, layout: Layout::Bhld }
    }
}

/// Applies the ONNX operator `RotaryEmbedding` to x: `[B, H, L, D]`, `[B, L, H, D]` in layout `blhd`, or `[B, L, D]`
/// for one head.
///
/// `positions` holds L positions shared by all batch entries, or B·L separate ones; by default row l has position l.
/// With θ = `position · scale · base^(−2i/dim)`, pair i becomes `(x₁ cos θ − x₂ sin θ, x₁ sin θ + x₂ cos θ)`. Features
/// from index `dim` on are unchanged.
///
/// # Errors
/// `SHAPE` if x, the positions or the output have the wrong dimensions. `OPTION` if `dim` exceeds D, if a position is
/// negative, or if the scale makes a position larger than 2³¹.
pub fn rotary_embedding(
    context: Context<'_>,
    x: Tensor<'_>,
    options: RotaryOptions,
    positions: Option<&[i32]>,
    output: &mut [f32],
) -> Result<()> {
    let RotaryOptions { base, interleaved, dim, scale, layout } = options;
    let rotary = Rotary { base, interleaved, dim };
    rotary.check()?;
    ranges::number("scale", scale, (0.0..f64::INFINITY).contains(&scale), "a finite number of at least 0")?;
    let dims = Dims::of("x", x.shape, layout, ["H", "L", "D"])?;
    let (batch, length) = (dims.batch, dims.length);
    let rotary = rotary.resolved(dims.size)?;
    let mut last = length.saturating_sub(1) as i64;
    if let Some(positions) = positions {
        if positions.len() != length && Some(positions.len()) != batch.checked_mul(length) {
            return Err(Error::shape(
                "positions",
                format_args!("a length of {length}, or of {batch} · {length} for positions of each batch entry"),
                format_args!("a length of {}", positions.len()),
            ));
        }
        if let Some(position) = positions.iter().find(|position| **position < 0) {
            return Err(Error::option("positions", "integers of at least 0", position));
        }
        last = positions.iter().max().map_or(0, |&position| position.into());
    }
    if last as f64 * scale > LARGEST_ANGLE {
        let expected = "a factor that keeps every position below 2^31";
        return Err(Error::option("scale", expected, format_args!("position {last} times it")));
    }
    check_output("output", output, x.data.len())?;
    output.copy_from_slice(x.data);
    let strides = Strides::new(layout, dims.heads, length, dims.size);
    let rows = Rows { data: output, strides, batch, heads: dims.heads, length };
    let per_batch = positions.is_some_and(|positions| positions.len() != length);
    rotate(context, rotary, scale, rows, &|b, l| match positions {
        Some(positions) => f64::from(positions[if per_batch { b * length + l } else { l }]),
        None => l as f64,
    })
}

/// Rows of features, `[batch, heads, length, size]`, in either order of heads and length.
pub(crate) struct Rows<'a> {
    pub data: &'a mut [f32],
    pub strides: Strides,
    pub batch: usize,
    pub heads: usize,
    pub length: usize,
}

/// Rotates the rows in place; row l of batch entry b has position `scale · position(b, l)`. `rotary` must be resolved.
pub(crate) fn rotate(
    context: Context<'_>,
    rotary: Rotary,
    scale: f64,
    rows: Rows<'_>,
    position: &(dyn Fn(usize, usize) -> f64 + Sync),
) -> Result<()> {
    let half = rotary.dim.unwrap_or(0) / 2;
    if half == 0 || rows.data.is_empty() {
        return Ok(());
    }
    let mut frequencies = try_zeroed("working memory", half)?;
    for (pair, frequency) in frequencies.iter_mut().enumerate() {
        *frequency = scale * (-rotary.base.ln() * pair as f64 / half as f64).exp();
    }
    scratch::reserve(2 * half)?;
    let Rows { data, strides, batch, heads, length } = rows;
    let operations = operations([batch, length, 4 * heads + 40, half]);
    // All heads of one position are consecutive, since they share its sines and cosines.
    let output = [Some(rows::Rows::new(data, RowLayout::new([batch, heads, length], heads, strides, 2 * half)))];
    let sizes = [batch, length * heads, ROTARY_ROWS * heads];
    context.for_each_head_rows(sizes, operations, output, None, |item, [features], _| {
        let Some(features) = features else { return };
        context.level.run(Rotation {
            frequencies: &frequencies,
            interleaved: rotary.interleaved,
            features,
            b: item.head,
            heads,
            positions: item.rows.start / heads..item.rows.end / heads,
            position,
        });
    });
    Ok(())
}

/// One work item: a range of positions of one batch entry, in every head.
struct Rotation<'a> {
    frequencies: &'a [f64],
    interleaved: bool,
    features: OwnRows<'a>,
    b: usize,
    heads: usize,
    positions: std::ops::Range<usize>,
    position: &'a (dyn Fn(usize, usize) -> f64 + Sync),
}

impl Kernel for Rotation<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd, const ROWS: usize, const VECTORS: usize>(mut self, _: S) {
        let half = self.frequencies.len();
        let mut scratch = Scratch::take(2 * half);
        let (sines, cosines) = scratch.values().split_at_mut(half);
        for row in self.positions.clone() {
            let position = (self.position)(self.b, row);
            for ((&frequency, sine), cosine) in self.frequencies.iter().zip(&mut *sines).zip(&mut *cosines) {
                let (exact_sine, exact_cosine) = sin_cos(position * frequency);
                (*sine, *cosine) = (exact_sine as f32, exact_cosine as f32);
            }
            for h in 0..self.heads {
                let features = self.features.row(row * self.heads + h);
                if self.interleaved {
                    for ((pair, sine), cosine) in features.chunks_exact_mut(2).zip(&*sines).zip(&*cosines) {
                        (pair[0], pair[1]) = (pair[0] * cosine - pair[1] * sine, pair[0] * sine + pair[1] * cosine);
                    }
                } else {
                    let (left, right) = features.split_at_mut(half);
                    for (((x, y), sine), cosine) in left.iter_mut().zip(right).zip(&*sines).zip(&*cosines) {
                        (*x, *y) = (*x * cosine - *y * sine, *x * sine + *y * cosine);
                    }
                }
            }
        }
    }
}
