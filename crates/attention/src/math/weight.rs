//! Matrices of weights in the types that they are stored in: 32-bit and 16-bit floats, and 8 bits in groups of 32.

use std::ops::Range;

use crate::error::{Error, Result};
use crate::math::quantized::quantize;
use crate::simd::{Kernel, Level, Simd, narrow_bf16, narrow_f16};
pub use crate::sizes::GROUP;
use crate::tensor::{Shape, Tensor, try_zeroed};

/// The type of a layer's weights.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "lowercase"))]
pub enum WeightType {
    /// 32-bit floats.
    #[default]
    F32,
    /// IEEE 754 binary16.
    F16,
    /// The upper half of a 32-bit float.
    Bf16,
    /// Integers from −127 to 127 in groups of 32 along a row, each with an f16 scale: GGUF's Q8_0.
    #[cfg_attr(feature = "serde", serde(rename = "q8_0"))]
    Q8,
}

impl WeightType {
    /// Returns the type, or `None` for the default.
    pub(crate) fn given(self) -> Option<Self> {
        (self != Self::F32).then_some(self)
    }

    /// Returns true for 32-bit floats, the default, which configurations leave out.
    #[cfg(feature = "serde")]
    #[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
    pub(crate) fn is_f32(&self) -> bool {
        *self == Self::F32
    }
}

/// Rows of weights, row-major. Halves are bits.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Weights<'a> {
    /// 32-bit floats.
    F32(&'a [f32]),
    /// Bits of f16.
    F16(&'a [u16]),
    /// Bits of bfloat16.
    Bf16(&'a [u16]),
    /// 8 bits in groups.
    Q8(Quantized<'a>),
}

/// Integers in groups of [`GROUP`] along each row, the last of which may be shorter, and the bits of each group's f16
/// scale, `[rows, groups]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quantized<'a> {
    /// The integers, row-major.
    pub values: &'a [i8],
    /// The scales.
    pub scales: &'a [u16],
}

/// A tensor of weights.
#[derive(Debug, Clone, Copy)]
pub struct Weight<'a> {
    /// The elements.
    pub data: Weights<'a>,
    /// The dimensions.
    pub shape: Shape,
}

impl<'a> From<Tensor<'a>> for Weight<'a> {
    fn from(tensor: Tensor<'a>) -> Self {
        Self { data: Weights::F32(tensor.data), shape: tensor.shape }
    }
}

impl<'a> Weight<'a> {
    /// Creates a tensor of halves: bfloat16, or f16.
    ///
    /// # Errors
    /// `SHAPE` unless the shape has as many elements.
    pub fn halves(argument: &str, is_bfloat: bool, bits: &'a [u16], dims: &[usize]) -> Result<Self> {
        let Tensor { data, shape } = Tensor::new(argument, bits, dims)?;
        Ok(Self { data: if is_bfloat { Weights::Bf16(data) } else { Weights::F16(data) }, shape })
    }

    /// Creates a tensor of 8 bits in groups along its last dimension.
    ///
    /// # Errors
    /// `SHAPE` unless the shape has as many elements and the scales are one per group.
    pub fn quantized(argument: &str, values: &'a [i8], scales: &'a [u16], dims: &[usize]) -> Result<Self> {
        let Tensor { data, shape } = Tensor::new(argument, values, dims)?;
        let (rows, columns) = shape.rows_and_columns();
        let groups = rows.saturating_mul(columns.div_ceil(GROUP));
        if scales.len() != groups {
            return Err(Error::shape(
                format!("{argument}.scales"),
                format_args!("{groups} scales for shape {shape}"),
                format_args!("{} scales", scales.len()),
            ));
        }
        Ok(Self { data: Weights::Q8(Quantized { values: data, scales }), shape })
    }
}

impl<'a> Weights<'a> {
    /// Returns the number of weights.
    pub fn len(self) -> usize {
        match self {
            Self::F32(data) => data.len(),
            Self::F16(bits) | Self::Bf16(bits) => bits.len(),
            Self::Q8(Quantized { values, .. }) => values.len(),
        }
    }

    /// Returns true if there are no weights.
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// Returns 32-bit floats; empty for other types.
    pub(crate) fn floats(self) -> &'a [f32] {
        if let Self::F32(data) = self { data } else { &[] }
    }

    /// Returns the number of bytes.
    pub fn bytes(self) -> usize {
        match self {
            Self::F32(data) => size_of_val(data),
            Self::F16(bits) | Self::Bf16(bits) => size_of_val(bits),
            Self::Q8(Quantized { values, scales }) => values.len() + size_of_val(scales),
        }
    }

    /// Returns the type.
    pub fn weight_type(self) -> WeightType {
        match self {
            Self::F32(_) => WeightType::F32,
            Self::F16(_) => WeightType::F16,
            Self::Bf16(_) => WeightType::Bf16,
            Self::Q8(_) => WeightType::Q8,
        }
    }

    /// Returns true if the weights are `rows` rows of `columns`, with a scale for each group.
    pub(crate) fn fits(self, rows: usize, columns: usize) -> bool {
        let has_scales = match self {
            Self::Q8(Quantized { scales, .. }) => rows.checked_mul(columns.div_ceil(GROUP)) == Some(scales.len()),
            _ => true,
        };
        rows.checked_mul(columns) == Some(self.len()) && has_scales
    }

    /// Returns some of the rows, which have `columns` weights.
    pub(crate) fn rows(self, rows: Range<usize>, columns: usize) -> Self {
        let place = rows.start * columns..rows.end * columns;
        match self {
            Self::F32(data) => Self::F32(&data[place]),
            Self::F16(bits) => Self::F16(&bits[place]),
            Self::Bf16(bits) => Self::Bf16(&bits[place]),
            Self::Q8(Quantized { values, scales }) => {
                let groups = columns.div_ceil(GROUP);
                let scales = &scales[rows.start * groups..rows.end * groups];
                Self::Q8(Quantized { values: &values[place], scales })
            }
        }
    }

    /// Writes part of row `row`, from column `first` on, as 32-bit floats; rows have `columns` values. With 8 bits,
    /// `first` must be the start of a group.
    #[cfg_attr(target_family = "wasm", inline(never))]
    #[cfg_attr(not(target_family = "wasm"), inline(always))]
    pub(crate) fn widen_row<S: Simd>(self, simd: S, row: usize, columns: usize, first: usize, output: &mut [f32]) {
        let start = row * columns + first;
        match self {
            Self::F32(data) => output.copy_from_slice(&data[start..][..output.len()]),
            Self::F16(bits) => widen::<S, false>(simd, &bits[start..], output),
            Self::Bf16(bits) => widen::<S, true>(simd, &bits[start..], output),
            Self::Q8(Quantized { values, scales }) => {
                debug_assert!(first.is_multiple_of(GROUP));
                let scales = &scales[row * columns.div_ceil(GROUP) + first / GROUP..][..output.len().div_ceil(GROUP)];
                let values = &values[start..][..output.len()];
                let few = S::LANES * GROUP;
                for ((values, output), bits) in
                    values.chunks(few).zip(output.chunks_mut(few)).zip(scales.chunks(S::LANES))
                {
                    widen_groups(simd, values, bits, output);
                }
            }
        }
    }

    /// Writes the first `width` of the `columns` values of consecutive rows, from row `first` on, as 32-bit floats.
    #[inline(always)]
    pub(crate) fn widen_rows<S: Simd>(self, simd: S, first: usize, [columns, width]: [usize; 2], output: &mut [f32]) {
        // Whole rows follow each other, and so do their groups unless the last one is shorter.
        let is_whole = width == columns && (width.is_multiple_of(GROUP) || !matches!(self, Self::Q8(_)));
        let size = if is_whole { output.len() } else { width };
        for (row, output) in output.chunks_exact_mut(size.max(1)).enumerate() {
            self.widen_row(simd, first + row, columns, 0, output);
        }
    }

    /// Writes row `row` as 32-bit floats; rows have as many columns as `output` has values.
    pub(crate) fn read_row(self, level: Level, row: usize, output: &mut [f32]) {
        self.read_rows(level, row, [output.len(); 2], output);
    }

    /// [`Self::widen_rows`] at a level.
    pub(crate) fn read_rows(self, level: Level, first: usize, [columns, width]: [usize; 2], output: &mut [f32]) {
        struct ReadRows<'a>(Weights<'a>, [usize; 3], &'a mut [f32]);
        impl Kernel for ReadRows<'_> {
            type Output = ();
            #[inline(always)]
            fn run<S: Simd, const ROWS: usize, const VECTORS: usize>(self, simd: S) {
                let Self(weights, [first, columns, width], output) = self;
                weights.widen_rows(simd, first, [columns, width], output);
            }
        }
        level.run(ReadRows(self, [first, columns, width], output));
    }
}

/// Weights of any type in their own memory.
#[derive(Debug, Clone, PartialEq)]
pub enum OwnedWeights {
    /// 32-bit floats.
    F32(Vec<f32>),
    /// Bits of f16.
    F16(Vec<u16>),
    /// Bits of bfloat16.
    Bf16(Vec<u16>),
    /// Integers, and the bits of the scales.
    Q8(Vec<i8>, Vec<u16>),
}

impl OwnedWeights {
    /// Converts rows of `columns` weights; `name` is for errors.
    ///
    /// # Errors
    /// `DOMAIN` for values that the type cannot hold, `MEMORY`.
    pub fn convert(name: &str, weights: Weights<'_>, to: WeightType, columns: usize) -> Result<Self> {
        let copy = |bits: &[u16]| -> Result<Vec<u16>> {
            let mut copied = try_zeroed(name, bits.len())?;
            copied.copy_from_slice(bits);
            Ok(copied)
        };
        Ok(match (weights, to) {
            (Weights::F16(bits), WeightType::F16) => Self::F16(copy(bits)?),
            (Weights::Bf16(bits), WeightType::Bf16) => Self::Bf16(copy(bits)?),
            (Weights::Q8(Quantized { values, scales }), WeightType::Q8) => {
                let mut copied = try_zeroed(name, values.len())?;
                copied.copy_from_slice(values);
                Self::Q8(copied, copy(scales)?)
            }
            _ => {
                let mut floats = try_zeroed(name, weights.len())?;
                if columns > 0 {
                    for (row, output) in floats.chunks_exact_mut(columns).enumerate() {
                        weights.read_row(Level::current(), row, output);
                    }
                }
                match to {
                    WeightType::F32 => Self::F32(floats),
                    WeightType::F16 => Self::F16(floats.into_iter().map(narrow_f16).collect()),
                    WeightType::Bf16 => Self::Bf16(floats.into_iter().map(narrow_bf16).collect()),
                    WeightType::Q8 => {
                        let (values, scales) = quantize(name, &floats, columns)?;
                        Self::Q8(values, scales)
                    }
                }
            }
        })
    }

    /// Borrows the weights.
    pub fn borrow(&self) -> Weights<'_> {
        match self {
            Self::F32(data) => Weights::F32(data),
            Self::F16(bits) => Weights::F16(bits),
            Self::Bf16(bits) => Weights::Bf16(bits),
            Self::Q8(values, scales) => Weights::Q8(Quantized { values, scales }),
        }
    }
}

/// Widens at most `LANES` groups of 8 bits.
#[inline(always)]
fn widen_groups<S: Simd>(simd: S, values: &[i8], bits: &[u16], output: &mut [f32]) {
    let mut padded = [0; 16];
    padded[..bits.len()].copy_from_slice(bits);
    let mut scales = [0.0; 16];
    simd.store(&mut scales, simd.load_f16(&padded));
    for ((values, output), &scale) in values.chunks(GROUP).zip(output.chunks_mut(GROUP)).zip(&scales) {
        // A product with a scale is exact: both have few bits.
        if let (Some(values), Some(output)) = (values.first_chunk::<GROUP>(), output.first_chunk_mut::<GROUP>()) {
            for at in (0..GROUP).step_by(S::LANES) {
                simd.store(&mut output[at..], simd.load_i8(&values[at..]) * scale);
            }
        } else {
            output.iter_mut().zip(values).for_each(|(output, &value)| *output = f32::from(value) * scale);
        }
    }
}

/// Widens as many halves as `output` has values.
#[inline(always)]
fn widen<S: Simd, const IS_BFLOAT: bool>(simd: S, bits: &[u16], output: &mut [f32]) {
    let count = output.len();
    let mut vectors = output.chunks_exact_mut(S::LANES);
    for (output, bits) in (&mut vectors).zip(bits.chunks_exact(S::LANES)) {
        simd.store(output, load::<S, IS_BFLOAT>(simd, bits));
    }
    let rest = vectors.into_remainder();
    if rest.is_empty() {
        return;
    }
    let mut padded = [0; 16];
    padded[..rest.len()].copy_from_slice(&bits[count - rest.len()..count]);
    let mut lanes = [0.0; 16];
    simd.store(&mut lanes, load::<S, IS_BFLOAT>(simd, &padded));
    rest.copy_from_slice(&lanes[..rest.len()]);
}

/// Widens the first halves of `bits`.
#[inline(always)]
fn load<S: Simd, const IS_BFLOAT: bool>(simd: S, bits: &[u16]) -> S::F {
    if IS_BFLOAT { simd.load_bf16(bits) } else { simd.load_f16(bits) }
}
