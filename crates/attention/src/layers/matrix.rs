//! A matrix of a layer's parameters in another type than 32-bit floats; 8 bits may be packed for products.

use crate::error::{Error, Result};
use crate::math::linear::Projection;
use crate::math::quantized::Packed;
use crate::math::weight::{GROUP, OwnedWeights, Quantized, WeightType, Weights};
use crate::tensor::try_zeroed;

/// Rows of weights.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Matrix {
    rows: usize,
    columns: usize,
    data: Data,
}

#[derive(Debug, Clone, PartialEq)]
enum Data {
    Plain(OwnedWeights),
    Packed(Packed),
}

impl Matrix {
    /// Converts weights; `name` is for errors. 8 bits are packed if `packs` is true.
    ///
    /// # Errors
    /// `DOMAIN` for values that the type cannot hold, `MEMORY`.
    pub(crate) fn new(
        name: &str,
        [rows, columns]: [usize; 2],
        weights: Weights<'_>,
        to: WeightType,
        packs: bool,
    ) -> Result<Self> {
        let pack = |quantized| Packed::for_this_machine(quantized, rows, columns).map(Data::Packed);
        let data = match (weights, to) {
            (Weights::Q8(quantized), WeightType::Q8) if packs => pack(quantized)?,
            _ => match OwnedWeights::convert(name, weights, to, columns)? {
                OwnedWeights::Q8(values, scales) if packs => pack(Quantized { values: &values, scales: &scales })?,
                plain => Data::Plain(plain),
            },
        };
        Ok(Self { rows, columns, data })
    }

    /// Returns a matrix of zeros, which are not packed.
    ///
    /// # Errors
    /// `MEMORY`.
    pub(crate) fn zeroed([rows, columns]: [usize; 2], kind: WeightType) -> Result<Self> {
        let count = rows.saturating_mul(columns);
        let weights = match kind {
            WeightType::F32 => OwnedWeights::F32(try_zeroed("weights", count)?),
            WeightType::F16 => OwnedWeights::F16(try_zeroed("weights", count)?),
            WeightType::Bf16 => OwnedWeights::Bf16(try_zeroed("weights", count)?),
            WeightType::Q8 => {
                let groups = rows.saturating_mul(columns.div_ceil(GROUP));
                OwnedWeights::Q8(try_zeroed("weights", count)?, try_zeroed("weights", groups)?)
            }
        };
        Ok(Self { rows, columns, data: Data::Plain(weights) })
    }

    /// Returns the matrix for products.
    pub(crate) fn projection(&self) -> Projection<'_> {
        match &self.data {
            Data::Plain(weights) => Projection::Given(weights.borrow()),
            Data::Packed(packed) => Projection::Packed(packed),
        }
    }

    /// Returns the type of the weights.
    pub(crate) fn weight_type(&self) -> WeightType {
        match &self.data {
            Data::Plain(weights) => weights.borrow().weight_type(),
            Data::Packed(_) => WeightType::Q8,
        }
    }

    /// Returns the number of bytes.
    pub(crate) fn bytes(&self) -> usize {
        match &self.data {
            Data::Plain(weights) => weights.borrow().bytes(),
            Data::Packed(packed) => packed.bytes(),
        }
    }

    /// Passes the weights to `visit`, as rows in their order.
    ///
    /// # Errors
    /// Any error that `visit` returns; `MEMORY`.
    pub(crate) fn visit(&self, visit: &mut dyn FnMut(Weights<'_>) -> Result<()>) -> Result<()> {
        match &self.data {
            Data::Plain(weights) => visit(weights.borrow()),
            Data::Packed(packed) => {
                let (values, scales) = packed.unpacked(self.rows, self.columns)?;
                visit(Weights::Q8(Quantized { values: &values, scales: &scales }))
            }
        }
    }
}

/// Passes the rows of matrices of one type to `visit` as those of a single matrix.
///
/// # Errors
/// Any error that `visit` returns; `MEMORY`.
pub(crate) fn visit_joined(matrices: &[&Matrix], visit: &mut dyn FnMut(Weights<'_>) -> Result<()>) -> Result<()> {
    if let [matrix] = matrices {
        return matrix.visit(visit);
    }
    let (mut integers, mut halves) = (Vec::new(), Vec::new());
    for matrix in matrices {
        matrix.visit(&mut |weights| {
            match weights {
                Weights::Q8(Quantized { values, scales }) => {
                    extend(&mut integers, values)?;
                    extend(&mut halves, scales)
                }
                Weights::F16(bits) | Weights::Bf16(bits) => extend(&mut halves, bits),
                // These are not matrices of their own.
                Weights::F32(_) => Ok(()),
            }
        })?;
    }
    match matrices.first().map(|matrix| matrix.weight_type()) {
        Some(WeightType::Q8) => visit(Weights::Q8(Quantized { values: &integers, scales: &halves })),
        Some(WeightType::Bf16) => visit(Weights::Bf16(&halves)),
        _ => visit(Weights::F16(&halves)),
    }
}

/// Appends copies of the elements.
fn extend<T: Copy>(to: &mut Vec<T>, elements: &[T]) -> Result<()> {
    to.try_reserve_exact(elements.len()).map_err(|_| Error::memory("weights", elements.len()))?;
    to.extend_from_slice(elements);
    Ok(())
}
