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
    /// Pair i is rotated by `position · scale · base^(−2i/dim)`; at least 1 and less than 10¹⁵, 10⁴ by default.
    pub base: f64,
    /// If true, pairs are neighbors, `(x[2i], x[2i+1])`; otherwise pairs span the two halves, `(x[i], x[i+dim/2])`.
    pub interleaved: bool,
    /// The number of leading features to rotate, which must be even. Default: all features.
    pub dim: Option<usize>,
    /// The factor of the positions, at least 0; 1 by default.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "is_one"))]
    pub scale: f64,
    /// The factor of the rotated features, such as YaRN's attention factor; 1 by default.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "is_one"))]
    pub factor: f64,
    /// The number of pairs that each of three positions rotates (M-RoPE), `dim/2` together. Default: one position.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub sections: Option<[u64; 3]>,
}

/// Returns true for a factor without effect, which configurations leave out.
#[cfg(feature = "serde")]
fn is_one(factor: &f64) -> bool {
    *factor == 1.0
}

impl Default for Rotary {
    fn default() -> Self {
        Self { base: 10_000.0, interleaved: false, dim: None, scale: 1.0, factor: 1.0, sections: None }
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
        if let Some(sections) = self.sections
            && sections.iter().fold(0, |sum: u64, &count| sum.saturating_add(count)) != dim as u64 / 2
        {
            let expected = format_args!("three counts of pairs that add up to {}", dim / 2);
            return Err(Error::value("sections", expected, ""));
        }
        Ok(Self { dim: Some(dim), ..self })
    }

    fn check(self) -> Result<()> {
        let fits = (1.0..1e15).contains(&self.base);
        ranges::number("base", self.base, fits, "a number of at least 1 and less than 1e15")?;
        for (name, factor) in [("scale", self.scale), ("factor", self.factor)] {
            ranges::number(name, factor, (0.0..f64::INFINITY).contains(&factor), "a finite number of at least 0")?;
        }
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
    /// The number of leading features to rotate, which must be even. Default: all features, or as many as there are
    /// frequencies for.
    pub dim: Option<usize>,
    /// The factor of the positions, at least 0; 1 by default.
    pub scale: f64,
    /// The factor of the rotated features, such as YaRN's attention factor; 1 by default.
    pub factor: f64,
    /// The number of pairs that each of three positions rotates (M-RoPE), `dim/2` together. Default: one position.
    pub sections: Option<[u64; 3]>,
    /// The order of the dimensions of a 4-D input.
    pub layout: Layout,
}

impl Default for RotaryOptions {
    fn default() -> Self {
        let Rotary { base, interleaved, dim, scale, factor, sections } = Rotary::default();
        Self { base, interleaved, dim, scale, factor, sections, layout: Layout::Bhld }
    }
}

/// The array-valued options of rotary positions.
#[derive(Debug, Clone, Copy, Default)]
pub struct RotaryArrays<'a> {
    /// The position of each row, at least 0: `[L]` for all batch entries, or `[B, L]`; with sections, `[3, L]` or `[3,
    /// B, L]`. One dimension may hold all of them. Default: row l has position l.
    pub positions: Option<Tensor<'a, i32>>,
    /// The angle of each pair at position 1, `[dim/2]`, in place of `base^(−2i/dim)`.
    pub frequencies: Option<&'a [f64]>,
}

/// Applies the ONNX operator `RotaryEmbedding` to x: `[B, H, L, D]`, `[B, L, H, D]` in layout `blhd`, or `[B, L, D]`
/// for one head.
///
/// With θ = `position · scale · base^(−2i/dim)`, pair i becomes `factor · (x₁ cos θ − x₂ sin θ, x₁ sin θ + x₂ cos θ)`.
/// Features from index `dim` on are unchanged. With `sections`, pairs of the second and third section use the second
/// and third position of their row, as in Qwen2.5-VL.
///
/// # Errors
/// `SHAPE` if x, the arrays or the output have the wrong dimensions. `OPTION` if `dim` exceeds D, if a position is
/// negative, or if the largest angle exceeds 2³¹.
pub fn rotary_embedding(
    context: Context<'_>,
    x: Tensor<'_>,
    options: RotaryOptions,
    arrays: RotaryArrays<'_>,
    output: &mut [f32],
) -> Result<()> {
    rotated(context, x, options, arrays, false, output)
}

/// Rotates x by the opposite of the angles of [`rotary_embedding`].
#[cfg(feature = "training")]
pub(crate) fn rotate_back(
    context: Context<'_>,
    x: Tensor<'_>,
    options: RotaryOptions,
    arrays: RotaryArrays<'_>,
    output: &mut [f32],
) -> Result<()> {
    rotated(context, x, options, arrays, true, output)
}

fn rotated(
    context: Context<'_>,
    x: Tensor<'_>,
    options: RotaryOptions,
    arrays: RotaryArrays<'_>,
    is_back: bool,
    output: &mut [f32],
) -> Result<()> {
    let RotaryOptions { base, interleaved, dim, scale, factor, sections, layout } = options;
    let RotaryArrays { positions, frequencies } = arrays;
    let dim = dim.or(frequencies.map(|frequencies| 2 * frequencies.len()));
    let rotary = Rotary { base, interleaved, dim, scale, factor, sections };
    rotary.check()?;
    let dims = Dims::of("x", x.shape, layout, ["H", "L", "D"])?;
    let (batch, length) = (dims.batch, dims.length);
    let rotary = rotary.resolved(dims.size)?;
    let positions = Positions::new(positions, rotary.sections.is_some(), [batch, length])?;
    let mut angles = Angles::new(rotary, frequencies)?;
    if is_back {
        angles.frequencies.iter_mut().for_each(|frequency| *frequency = -*frequency);
    }
    angles.check_position(positions.largest().unwrap_or(length.saturating_sub(1) as i64))?;
    check_output("output", output, x.data.len())?;
    output.copy_from_slice(x.data);
    let strides = Strides::new(layout, dims.heads, length, dims.size);
    let rows = Rows { data: output, strides, batch, heads: dims.heads, length };
    rotate(context, &angles, rows, &|b, l, axis| positions.get(b, l, axis).unwrap_or(l as f64))
}

/// The caller's positions of the rows of a call, if any.
#[derive(Clone, Copy)]
pub(crate) struct Positions<'a> {
    given: Option<&'a [i32]>,
    /// The distances between the positions of sections and of batch entries.
    axis_stride: usize,
    batch_stride: usize,
}

impl<'a> Positions<'a> {
    /// Checks that there is a position for each row, or one per section if there are sections.
    pub fn new(given: Option<Tensor<'a, i32>>, has_sections: bool, [batch, length]: [usize; 2]) -> Result<Self> {
        let Some(given) = given else { return Ok(Self { given: None, axis_stride: 0, batch_stride: 0 }) };
        let axes = if has_sections { 3 } else { 1 };
        let dims = given.shape.dims();
        let each = match *dims {
            [count] if count == axes * length => Some(false),
            [count] if Some(count) == batch.checked_mul(axes * length) => Some(true),
            [first, last] if has_sections && first == 3 && last == length => Some(false),
            [entries, last] if !has_sections && last == length && (entries == batch || entries == 1) => {
                Some(entries == batch)
            }
            [3, entries, last] if has_sections && last == length && (entries == batch || entries == 1) => {
                Some(entries == batch)
            }
            _ => None,
        };
        let Some(each) = each else { return Err(misshapen(given, has_sections, [batch, length])) };
        if let Some(position) = given.data.iter().find(|position| **position < 0) {
            return Err(Error::option("positions", "integers of at least 0", position));
        }
        let (entries, batch_stride) = if each { (batch, length) } else { (1, 0) };
        let axis_stride = if has_sections { entries * length } else { 0 };
        Ok(Self { given: Some(given.data), axis_stride, batch_stride })
    }

    /// Returns the position of row l of batch entry b for a section.
    pub fn get(&self, b: usize, l: usize, axis: usize) -> Option<f64> {
        self.given.map(|given| f64::from(given[axis * self.axis_stride + b * self.batch_stride + l]))
    }

    /// Returns the largest position, or `None` if there are none.
    pub fn largest(&self) -> Option<i64> {
        self.given?.iter().max().map(|&position| position.into())
    }
}

#[cold]
fn misshapen(given: Tensor<'_, i32>, has_sections: bool, [batch, length]: [usize; 2]) -> Error {
    match (given.shape.dims(), has_sections) {
        (&[count], false) => Error::shape(
            "positions",
            format_args!("a length of {length}, or of {batch} · {length} for positions of each batch entry"),
            format_args!("a length of {count}"),
        ),
        (_, false) => Error::shape("positions", format_args!("[{length}] or [{batch}, {length}]"), given.shape),
        (_, true) => Error::shape("positions", format_args!("[3, {length}] or [3, {batch}, {length}]"), given.shape),
    }
}

/// The angles of each pair of features, and the way pairs are rotated by them.
pub(crate) struct Angles {
    /// The angle of each pair at position 1.
    frequencies: Vec<f64>,
    sections: [usize; 3],
    factor: f64,
    interleaved: bool,
    has_own: bool,
}

impl Angles {
    /// Computes the angles of resolved options, or takes the caller's.
    pub fn new(rotary: Rotary, given: Option<&[f64]>) -> Result<Self> {
        let half = rotary.dim.unwrap_or(0) / 2;
        let mut frequencies = try_zeroed("working memory", half)?;
        if let Some(given) = given {
            if given.len() != half {
                let expected = format_args!("a length of {half}, one for each pair of features");
                return Err(Error::shape("frequencies", expected, format_args!("a length of {}", given.len())));
            }
            if !given.iter().all(|frequency| frequency.is_finite()) {
                return Err(Error::option("frequencies", "finite numbers", "others"));
            }
            frequencies.copy_from_slice(given);
        } else {
            for (pair, frequency) in frequencies.iter_mut().enumerate() {
                *frequency = (-rotary.base.ln() * pair as f64 / half as f64).exp();
            }
        }
        frequencies.iter_mut().for_each(|frequency| *frequency *= rotary.scale);
        let sections = rotary.sections.map_or([half, 0, 0], |sections| sections.map(|count| count as usize));
        let Rotary { factor, interleaved, .. } = rotary;
        Ok(Self { frequencies, sections, factor, interleaved, has_own: given.is_some() })
    }

    /// Checks that the angles of the largest position are exact.
    pub fn check_position(&self, largest: i64) -> Result<()> {
        let steepest = self.frequencies.iter().fold(0.0, |most: f64, frequency| most.max(frequency.abs()));
        if largest as f64 * steepest <= LARGEST_ANGLE {
            return Ok(());
        }
        let actual = format_args!("position {largest} times it");
        Err(match self.has_own {
            true => Error::option("frequencies", "angles of at most 2^31 at every position", actual),
            false => Error::option("scale", "a factor that keeps every position below 2^31", actual),
        })
    }
}

/// Rows of features, `[batch, heads, length, size]`, in either order of heads and length.
pub(crate) struct Rows<'a> {
    pub data: &'a mut [f32],
    pub strides: Strides,
    pub batch: usize,
    pub heads: usize,
    pub length: usize,
}

/// Rotates the rows in place; row l of batch entry b has position `position(b, l, axis)` for the pairs of a section.
pub(crate) fn rotate(
    context: Context<'_>,
    angles: &Angles,
    rows: Rows<'_>,
    position: &(dyn Fn(usize, usize, usize) -> f64 + Sync),
) -> Result<()> {
    let half = angles.frequencies.len();
    if half == 0 || rows.data.is_empty() {
        return Ok(());
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
            angles,
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
    angles: &'a Angles,
    features: OwnRows<'a>,
    b: usize,
    heads: usize,
    positions: std::ops::Range<usize>,
    position: &'a (dyn Fn(usize, usize, usize) -> f64 + Sync),
}

impl Kernel for Rotation<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd, const ROWS: usize, const VECTORS: usize>(mut self, _: S) {
        let &Angles { ref frequencies, sections, factor, interleaved, .. } = self.angles;
        let half = frequencies.len();
        let mut scratch = Scratch::take(2 * half);
        let (sines, cosines) = scratch.values().split_at_mut(half);
        for row in self.positions.clone() {
            let mut first = 0;
            for (axis, count) in sections.into_iter().enumerate().filter(|&(_, count)| count > 0) {
                let position = (self.position)(self.b, row, axis);
                for pair in first..first + count {
                    let (sine, cosine) = sin_cos(position * frequencies[pair]);
                    (sines[pair], cosines[pair]) = ((sine * factor) as f32, (cosine * factor) as f32);
                }
                first += count;
            }
            for h in 0..self.heads {
                let features = self.features.row(row * self.heads + h);
                if interleaved {
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
